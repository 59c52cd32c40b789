import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from revoice.data.corpora.espeak.design import design
from revoice.data.corpora.espeak.make import Recipe, make_corpus, sentences
from revoice.data.corpora.espeak.voices import voices
from revoice.data.corpora.synthetic import Synthetic
from revoice.errors import UserError


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    root = tmp_path_factory.mktemp("spoken")
    corpus = Synthetic(root, sentences=10, test_sentences=2, per_voice=4, tested_voices=2, max_voices=9)
    corpus.make()
    return corpus


def test_what_each_voice_reads(spoken: Synthetic) -> None:
    rows = list(spoken.rows())
    assert len(rows) == spoken.recipe.utterances() == 9 * 4 + 2 * 2 + 8 * (4 + 2)
    by_voice = {name: [row for row in rows if row.speaker == name] for name in {row.speaker for row in rows}}
    seen = sorted(name for name in by_voice if name < "p900")
    read = {name: {row.text for row in by_voice[name] if row.split in ("train", "val")} for name in by_voice}
    assert all(len(read[name]) == 4 for name in seen)
    assert any(read[a] != read[b] for a, b in pairwise(seen))
    assert len(set.union(*(read[name] for name in seen))) > 4
    assert Counter(row.split for row in rows)["test_seen"] == 2 * 2
    assert {row.text for row in rows if row.split == "test_seen"} == set(sentences()[-2:])
    for name in (name for name in by_voice if name > "p900"):
        assert {row.split for row in by_voice[name]} == {"test_unseen"} and len(by_voice[name]) == 6
    assert not {row.text for row in rows if row.split == "val"} & {row.text for row in rows if row.split == "train"}


def test_equal_numbers_are_equal_sentences(spoken: Synthetic) -> None:
    said: dict[str, set[str | None]] = {}
    for row in spoken.rows():
        said.setdefault(row.id.split("_")[1], set()).add(row.text)
    assert all(len(texts) == 1 for texts in said.values())


def test_speech_depends_on_the_voice_alone(spoken: Synthetic, tmp_path: Path) -> None:
    make_corpus(tmp_path / "again", spoken.recipe, workers=1)
    clips = sorted(path.relative_to(spoken.root) for path in spoken.root.rglob("*.flac"))
    assert clips == sorted(path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*.flac"))
    for clip in clips:
        assert (spoken.root / clip).read_bytes() == (tmp_path / "again" / clip).read_bytes()


def test_designed_voices_differ_in_sound(spoken: Synthetic) -> None:
    table = {voice.speaker: voice for voice in voices()}
    designed = sorted({row.speaker for row in spoken.rows() if table[row.speaker].definition})
    assert len(designed) >= 3 and {table[name].gender for name in designed} == {"F", "M"}
    clips = {next((spoken.root / "wav48_silence_trimmed" / name).glob("*.flac")) for name in designed}
    sounds = {soundfile.read(clip)[0].tobytes() for clip in clips}
    assert len(sounds) == len(designed)
    assert len({design(number, gender) for number in range(50) for gender in "FM"}) == 100


def test_the_table_of_voices() -> None:
    table = voices()
    seen = [voice for voice in table if not voice.unseen]
    assert len({json.dumps([v.variant, v.accent, v.pitch, v.range, v.rate]) for v in seen}) == len(seen)
    assert all(0 <= value <= 99 for voice in table for value in (voice.pitch, voice.range))
    share = Counter(voice.gender for voice in seen)["F"] / len(seen)
    assert 0.4 < share < 0.6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_voice": 0}, "per_voice=0"),
        ({"tested_voices": -1}, "tested_voices=-1"),
        ({"sentences": 1}, "sentences=1"),
        ({"styles": ("bored",)}, "prosody style"),
    ],
)
def test_mistakes(settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        make_corpus(tmp_path / "x", Recipe(max_voices=2, **settings))
    assert not (tmp_path / "x").exists()


def test_styles_are_read_by_the_first_voices_and_the_unseen_ones(tmp_path: Path) -> None:
    corpus = Synthetic(
        tmp_path, sentences=4, test_sentences=2, per_voice=2, tested_voices=0, max_voices=2,
        styles=["neutral", "sad"], styled_voices=1,
    )  # fmt: skip
    corpus.make()
    rows = list(corpus.rows())
    sad = [row for row in rows if row.emotion == "sad"]
    assert len(rows) == corpus.recipe.utterances() == 2 * 2 + 2 + 8 * 4 * 2
    assert len(sad) == 2 + 8 * 4 and len({row.speaker for row in sad if row.split == "train"}) == 1
    assert len({row.speaker for row in sad if row.split == "test_unseen"}) == 8
    for name in {row.speaker for row in sad}:
        assert {row.text for row in sad if row.speaker == name} == {row.text for row in rows if row.speaker == name}


def test_no_voice_is_named_like_one_of_vctk() -> None:
    """A corpus that shares no speaker with the training data is taken for unseen."""
    assert not {voice.speaker for voice in voices()} & {f"p{number}" for number in range(225, 377)}


def test_sentences_are_drawn_for_each_training_voice(tmp_path: Path) -> None:
    plain = {"sentences": 2, "test_sentences": 2, "per_voice": 1, "tested_voices": 0, "max_voices": 2}
    corpus = Synthetic(tmp_path, **plain, drawn=3)
    corpus.make()
    rows = list(corpus.rows())
    drawn = [row for row in rows if row.text not in sentences()]
    assert len(rows) == corpus.recipe.utterances() == Recipe(**plain).utterances() + 2 * 3
    assert sorted(Counter(row.speaker for row in drawn).values()) == [3, 3]
    assert len({row.text for row in drawn}) == 6
    assert {row.split for row in drawn} == {"train"} and all(len(row.phones) > 10 for row in drawn)
    assert Recipe(**plain).key() != corpus.recipe.key()


def test_more_voices_are_spoken_and_older_corpora_keep_their_folder() -> None:
    few, more = (Recipe(per_voice=1, tested_voices=0, more_voices=n) for n in (0, 30))
    assert few.key() != more.key() and more.utterances() == few.utterances() + 30
    assert Recipe().key() == "2c7e5f14e7", "a corpus that was spoken before there were more voices is found again"
    table = voices(30)
    assert len({v.speaker for v in table}) == len(table) == len(voices()) + 30
    assert {v.speaker: v for v in table}.items() >= {v.speaker: v for v in voices()}.items()


def test_styles_keep_their_peaks(tmp_path: Path) -> None:
    """espeak-ng presses down what is loud: what is angry has to be louder, and nothing may be cut."""
    corpus = Synthetic(
        tmp_path, sentences=2, test_sentences=2, per_voice=2, tested_voices=0, max_voices=2,
        styles=["neutral", "sad", "angry"], styled_voices=2,
    )  # fmt: skip
    corpus.make()
    manifest = corpus.manifest()
    peaks: dict[tuple[str, str], list[float]] = {}
    for row in manifest:
        samples, _ = soundfile.read(manifest.file(row))
        peaks.setdefault((row.speaker, row.emotion or ""), []).append(float(np.abs(samples).max()))
    for name in {speaker for speaker, _ in peaks}:
        sad, neutral, angry = (np.mean(peaks[name, style]) for style in ("sad", "neutral", "angry"))
        assert 0.5 < sad / neutral < 0.75  # 0.65 by the table of styles
        assert angry / neutral > 1.4
        assert max(max(peaks[name, style]) for style in ("sad", "neutral", "angry")) < 0.98
