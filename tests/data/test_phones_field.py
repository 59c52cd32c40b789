from pathlib import Path

import numpy as np
import pytest
from data_helpers import tone

from revoice.audio.io import Audio
from revoice.audio.presets import load_preset
from revoice.data.corpora.espeak.say import spoken
from revoice.data.corpora.manifest import Manifest
from revoice.data.corpora.synthetic import Synthetic
from revoice.data.fields.base import build_field
from revoice.data.fields.clip import Clip
from revoice.data.fields.inventory import INVENTORY, heard, phones_of
from revoice.data.prepare.preparation import prepare
from revoice.data.read.store import MemoryStore
from revoice.models.phones import Phones

SPEC = load_preset("whisper_16k")


def clip(events: list[tuple[str, float]] | None, start: float = 0.0, kept: float = 1.0, seconds: float = 1.0) -> Clip:
    return Clip(Audio(tone(kept, 150, 16000, seed=0), 16000), seconds, start, events)


def read(numbers: np.ndarray) -> list[str]:
    return [INVENTORY[n // 2] for n in numbers if n >= 0 and n % 2]


def test_each_phone_has_its_frames_and_one_middle() -> None:
    (numbers,) = build_field("phones", SPEC).compute([clip([("'eI", 0.1), ("s", 0.3), ("s", 0.5), ("_:", 0.7)])])
    assert len(numbers) == SPEC.frames(16000) and read(numbers) == ["ey", "s", "s"]
    ey, s = 2 * INVENTORY.index("ey"), 2 * INVENTORY.index("s")
    assert set(numbers[10:30]) == {ey, ey + 1} and numbers[20] == ey + 1
    assert set(numbers[30:70]) == {s, s + 1} and numbers[40] == numbers[60] == s + 1
    assert (numbers[:10] == -1).all() and (numbers[70:] == -1).all()


def test_what_trimming_cut_is_told() -> None:
    events = [("p", 0.0), ("a", 0.2), ("t", 0.4), ("_:", 0.6)]
    (numbers,) = build_field("phones", SPEC).compute([clip(events, start=0.25, kept=0.5)])
    assert read(numbers) == ["ae", "t"], "more than half of the vowel is left"
    (numbers,) = build_field("phones", SPEC).compute([clip(events, start=0.35, kept=0.5)])
    assert read(numbers) == ["t"] and numbers[0] == 2 * INVENTORY.index("ae")


def test_two_phones_of_one_moment_are_two() -> None:
    (numbers,) = build_field("phones", SPEC).compute([clip([("l", 0.1), ("l", 0.1), ("z", 0.1), ("_", 0.2)])])
    assert read(numbers) == ["l", "l", "z"]


def test_unknown_is_not_silence() -> None:
    field = build_field("phones", SPEC)
    unknown, silent = field.compute([clip(None), clip([("_:", 0.0)])])
    assert (unknown == -2).all() and (silent == -1).all()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    return Synthetic(tmp_path_factory.mktemp("spoken"), sentences=3, test_sentences=2, max_voices=2)


def test_the_embedded_corpus_says_what_it_says(corpus: Synthetic, tmp_path: Path) -> None:
    prepared = prepare(corpus, SPEC, ["features", "phones"], tmp_path, progress=False)
    store = MemoryStore(prepared)
    for position, row in enumerate(store.rows):
        numbers = store.utterance("phones", position)
        assert numbers.shape == store.utterance("features", position).shape[1:]
        assert read(numbers.numpy()) == Phones.from_espeak([name for name, _ in row.phones or []]), row.id


def test_every_phoneme_of_the_embedded_corpus_is_known(corpus: Synthetic) -> None:
    manifest: Manifest = corpus.manifest()
    names = {name for row in manifest for name, _ in row.phones or []}
    assert {name for name in names if not phones_of(name)} <= {"_", "_:", "_!", "_|", ";", "?"}
    row = manifest.rows[0]
    spans = heard(row.phones or [], 9.0)
    assert all(start <= end for _, start, end in spans)


def test_words_are_spelt_by_espeak() -> None:
    (first, second) = spoken(["IT WAS A BIG DOG", "ship"])
    assert Phones.from_espeak([name for name, _ in second]) == ["sh", "ih", "p"]
    assert Phones.from_espeak([name for name, _ in first])[:2] == ["ih", "t"]
