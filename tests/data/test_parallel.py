"""Recordings of the same sentence by the same speaker with another emotion: who has them, and what a batch gets."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from revoice.audio.presets import load_preset
from revoice.data.config import build
from revoice.data.corpora.manifest import Row
from revoice.data.memory import VoiceDataModule
from revoice.data.prepare.preparation import Preparation, Prepared, prepare
from revoice.data.read.batch import Requires
from revoice.data.read.sampler import Crops, Parallels
from tests.conftest import compose_config

SPEC = load_preset("mel_22k")
NEEDS = Requires(fields=("features", "f0"), frames=60, minimum=10, labels=("emotion",), parallel=150)


def row(number: int, speaker: str, sentence: str | None, emotion: str | None) -> Row:
    return Row(id=str(number), path="x", speaker=speaker, sentence=sentence, emotion=emotion)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y", None]), st.sampled_from(["sad", "happy", None])),
        min_size=1, max_size=12,
    ),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 3),
)  # fmt: skip
def test_one_that_says_the_same_otherwise_or_itself(said: list, uniform: float, skipped: int) -> None:
    rows = [row(number, *each) for number, each in enumerate(said)]
    positions = np.array([at for at in range(len(rows)) if at % 4 != skipped or at == 0])
    among = Parallels(rows, np.full(len(rows), 100), positions, 50)
    chosen = among.choose(positions, np.full(len(positions), uniform))
    for at, found in zip(positions, chosen, strict=True):
        speaker, sentence, emotion = said[at]
        others = [
            o for o in positions
            if sentence and said[o][:2] == (speaker, sentence) and (said[o][2] or "") != (emotion or "")
        ]  # fmt: skip
        assert found in others if others else found == at
    assert bool(among) == any(chosen != positions)


def test_all_of_them_come_equally_often() -> None:
    rows = [row(n, "a", "x", emotion) for n, emotion in enumerate(("sad", "happy", "sad", "angry", "calm"))]
    among = Parallels(rows, np.full(5, 100), np.arange(5), 50)
    drawn = among.choose(np.zeros(300, dtype=np.int64), (np.arange(300) + 0.5) / 300)
    assert np.bincount(drawn, minlength=5).tolist() == [0, 100, 0, 100, 100]


def test_the_stretch_is_about_where_the_crop_is() -> None:
    rows = [row(0, "a", "x", "sad"), row(1, "a", "x", "happy")]
    three, one = np.zeros(3, dtype=np.int64), np.ones(1, dtype=np.int64)
    crops = Crops(three, np.array([0, 450, 900]), three, three)

    def beside(crops: Crops, length: int) -> tuple[list[int], list[int]]:
        among = Parallels(rows, np.array([1000, 500]), np.arange(2), length)
        found = among.beside(crops, 100, np.zeros(len(crops.utterances)))
        assert found.parallels is not None and found.parallel_starts is not None
        assert found.utterances is crops.utterances and found.starts is crops.starts
        return found.parallels.tolist(), found.parallel_starts.tolist()

    assert beside(crops, 200) == ([1, 1, 1], [0, 150, 300])
    assert beside(Crops(one, 0 * one, one, one), 2000) == ([0], [0]), "all of it"


@pytest.fixture(scope="module")
def styled(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    corpus = (
        "data.corpus={styles: [neutral, happy], styled_voices: 2, max_voices: 2, sentences: 6, test_sentences: 4, "
        "per_voice: 6, tested_voices: 0}"
    )
    config = compose_config("prepare", "data=synthetic", corpus, folder=workplace)
    built = build(config["data"])
    how = Preparation(workers=0)
    out = tmp_path_factory.mktemp("styled")
    return prepare(built.corpus, SPEC, NEEDS.fields, out, splits=built.splits, how=how, progress=False)


def test_a_batch(styled: Prepared) -> None:
    data = VoiceDataModule(styled, NEEDS, batch_size=16)
    batches = list(islice(data.batches(), 3))
    by_id = {r.id: r for r in styled.manifest}
    for batch in batches:
        assert batch.parallel.shape == (16, 80, 150) and batch.parallel_f0.shape == (16, 150)
        assert batch.parallel_lengths.dtype == torch.int64
        padding = torch.arange(150) >= batch.parallel_lengths[:, None]
        assert (batch.parallel.transpose(1, 2)[padding] == SPEC.silence).all()
        assert (batch.parallel_emotion != batch.emotion).float().mean() > 0.8
        for item, name in enumerate(batch.id):
            own = by_id[name]
            theirs = [
                r for r in styled.manifest
                if (r.speaker, r.sentence) == (own.speaker, own.sentence) and r.emotion != own.emotion
            ]  # fmt: skip
            emotion = data.tables.emotions[batch.parallel_emotion[item]]
            assert emotion in {r.emotion for r in theirs if r.split == "train"} or emotion == own.emotion
    again = list(islice(VoiceDataModule(styled, replace(NEEDS, parallel=0), batch_size=16).batches(), 3))
    assert all(torch.equal(a.features, b.features) for a, b in zip(batches, again, strict=True)), "the same crops"
    assert again[0].parallel is None and again[0].parallel_emotion is None
    val = next(iter(data.val_dataloader()), None)
    assert val is None or val.parallel.shape[1:] == (80, 150)


def test_validation_asks_those_alone_whose_emotion_is_known(styled: Prepared) -> None:
    manifest = styled.manifest
    chosen = [r.id for r in manifest if r.emotion == "happy"]
    rows = [
        replace(r, split="val", emotion=None if r.emotion == "neutral" else r.emotion) if r.split == "train"
        and r.id not in chosen[:2] else r for r in manifest
    ]  # fmt: skip
    data = VoiceDataModule(replace(styled, manifest=replace(manifest, rows=tuple(rows))), NEEDS, batch_size=4)
    for batch in data.val_dataloader():
        assert bool((batch.parallel_emotion >= 0).all()), "one without a known emotion is no other emotion"


def test_processes_share_them(styled: Prepared) -> None:
    whole = next(iter(VoiceDataModule(styled, NEEDS, batch_size=8).batches()))
    parts = [next(iter(VoiceDataModule(styled, NEEDS, batch_size=8, rank=r, world_size=2).batches())) for r in (0, 1)]
    for name in ("parallel", "parallel_f0", "parallel_lengths", "parallel_emotion"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
