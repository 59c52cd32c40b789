import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import speakers_folder
from test_prepare import Slow

from revoice.audio.features import extract
from revoice.audio.io import read_audio
from revoice.audio.presets import load_preset
from revoice.data.corpora.folder import Folder
from revoice.data.corpora.splits import Splits
from revoice.data.prepare.places import PLACES
from revoice.data.prepare.preparation import Preparation, Prepared, prepare
from revoice.data.read.mapped import MappedField
from revoice.data.read.mixture import Mixed, MixedStore, held
from revoice.data.read.sampler import CropSampler
from revoice.data.read.store import MemoryStore, room_on
from revoice.errors import UserError

SPEC = load_preset("mel_22k")
FIELDS = ("features", "f0", "waveform", "embedding", Slow())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = speakers_folder(tmp_path_factory.mktemp("corpus"), speakers=4, clips=5)
    out = tmp_path_factory.mktemp("out")
    splits = Splits(unseen_speakers=1, test_sentences=1, val=0.2)
    return prepare(
        Folder(root), SPEC, FIELDS, out, splits=splits, how=Preparation(workers=0, shard_utterances=7), progress=False
    )


def naive(store: MemoryStore, field: str, utterances: list[int], starts: list[int], frames: int) -> torch.Tensor:
    """The same crops, one after the other, from whole utterances."""
    crops = []
    for utterance, start in zip(utterances, starts, strict=True):
        whole = store.utterance(field, utterance)
        rate = 256 if field == "waveform" else 1
        crop = whole[..., start * rate : (start + frames) * rate]
        silence = SPEC.silence if field == "features" else 0
        crops.append(torch.nn.functional.pad(crop, (0, frames * rate - crop.shape[-1]), value=silence))
    return torch.stack(crops)


@pytest.mark.parametrize("field", ["features", "f0", "waveform", "codes:abc"])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_gather_equals_the_naive_loop(prepared: Prepared, field: str, device: str | None) -> None:
    store = MemoryStore(prepared, device=device)
    random = np.random.default_rng(0)
    chosen = random.integers(len(store), size=40)
    starts = random.integers(0, 20, size=40)
    assert (store.lengths[chosen] < starts + 40).any() and (store.lengths[chosen] > starts + 40).any()
    crops = store.crops(field, chosen, starts, 40)
    expected = naive(store, field, chosen.tolist(), starts.tolist(), 40)
    assert crops.dtype == expected.dtype and crops.is_contiguous() and torch.equal(crops, expected)
    assert crops.dtype == (torch.int64 if field == "codes:abc" else torch.float32)
    assert crops.shape == {"features": (40, 80, 40), "waveform": (40, 40 * 256)}.get(field, (40, 40))


def test_a_corpus_is_a_mixture_of_one(prepared: Prepared) -> None:
    store = held(prepared, ("train",), ["features"])
    assert isinstance(store, MemoryStore) and store.shares == (1.0,) and not store.sources.any()
    two = held(Mixed({"a": prepared, "b": prepared}, (0.25, 0.75)), ("train",), ["features"])
    assert two.shares == (0.25, 0.75) and np.bincount(two.sources).tolist() == [len(store), len(store)]
    assert [row.id for row in two.rows[: len(store)]] == [f"a--{row.id}" for row in store.rows]
    for each in (store, two):
        assert torch.equal(each.utterance("features", len(each) - 1), store.utterance("features", len(store) - 1))
    speakers = np.unique([row.speaker for row in store.rows], return_inverse=True)[1]
    how = {"batch_size": 16, "frames": 8, "reference": 4, "mode": "by_speaker"}
    plain = CropSampler(store.positions("train"), store.lengths, speakers, **how).draw(3)
    mixed = CropSampler(
        store.positions("train"), store.lengths, speakers, sources=store.sources, shares=store.shares, **how
    ).draw(3)
    for name, drawn in vars(plain).items():
        np.testing.assert_array_equal(drawn, getattr(mixed, name))


def test_utterances_are_those_of_the_files(prepared: Prepared) -> None:
    store = MemoryStore(prepared)
    for position, row in enumerate(store.rows):
        mel = extract(read_audio(prepared.manifest.file(row), SPEC.sample_rate).samples, SPEC)
        assert torch.equal(store.utterance("features", position), mel.half().float())
        assert store.lengths[position] == mel.shape[1]
        assert store.utterance("waveform", position).shape == (mel.shape[1] * SPEC.hop,)
    assert store.vectors("embedding", np.arange(3)).norm(dim=1) == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(store.vectors("embedding", np.array([2]))[0], store.utterance("embedding", 2))


def test_waveform_and_features_are_aligned(prepared: Prepared) -> None:
    store = MemoryStore(prepared)
    wave = store.crops("waveform", np.array([0]), np.array([5]), 20)
    whole = read_audio(prepared.manifest.file(store.rows[0]), SPEC.sample_rate).samples
    np.testing.assert_allclose(wave[0].numpy(), whole[5 * 256 : 25 * 256], atol=1e-4)


def test_splits_select(prepared: Prepared) -> None:
    store = MemoryStore(prepared, ("train", "val"), ["features"])
    assert len(store) == len(prepared.manifest.select("train", "val")) < len(prepared.manifest)
    assert set(store.positions("train")) | set(store.positions("val")) == set(range(len(store)))
    row = store.rows[3]
    everything = MemoryStore(prepared)
    assert torch.equal(
        store.utterance("features", 3), everything.utterance("features", list(everything.ids).index(row.id))
    )
    with pytest.raises(UserError, match="'paired' is not prepared"):
        MemoryStore(prepared, fields=["paired"])


def test_statistics(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("revoice.data.read.mapped._BLOCK", 37)
    store = MemoryStore(prepared)
    frames = torch.cat([store.utterance("features", i) for i in store.positions("train")], dim=1).double()
    found = store.statistics()
    torch.testing.assert_close(found.mean, frames.mean(1).float())
    torch.testing.assert_close(found.std, frames.std(1, correction=0).float(), atol=1e-5, rtol=1e-5)
    path = next(prepared.folders["features"].glob("statistics-*.json"))
    assert json.loads(path.read_text())["utterances"] == len(store.positions("train"))
    monkeypatch.setattr(MappedField, "statistics", None)
    assert torch.equal(store.statistics().mean, found.mean)  # remembered


def test_shards_are_looked_through_once_and_the_choice_is_told(
    prepared: Prepared, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = prepared.folders["features"]
    (folder / PLACES).unlink(missing_ok=True)
    MemoryStore(prepared)
    assert f"looking through 3 of 3 shards of {folder}, once" in caplog.text and "memory-mapped" in caplog.text
    stamp = (folder / PLACES).stat().st_mtime_ns
    caplog.clear()
    store = MemoryStore(prepared, device="cpu")
    assert (folder / PLACES).stat().st_mtime_ns == stamp and "looking through" not in caplog.text
    assert f"memory of cpu: features {store.lengths.sum() * 160 / 1e6:.1f} MB" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gather_on_the_gpu(prepared: Prepared) -> None:
    host, device = MemoryStore(prepared), MemoryStore(prepared, device="cuda")
    chosen, starts = np.arange(10), np.arange(10) * 3
    for field in ("features", "f0", "waveform"):
        crops = device.crops(field, chosen, starts, 40)
        assert crops.is_cuda and torch.equal(crops.cpu(), host.crops(field, chosen, starts, 40))


def test_padding_of_features_with_phase_is_a_whole_frame_of_silence(tmp_path: Path) -> None:
    spec = load_preset("stft_16k")
    root = speakers_folder(tmp_path / "corpus", speakers=1, clips=1)
    store = MemoryStore(
        prepare(Folder(root), spec, ["features"], tmp_path / "out", how=Preparation(workers=0), progress=False)
    )
    length = int(store.lengths[0])
    crop = store.crops("features", np.array([0]), np.array([2]), length)
    assert torch.equal(crop[0, :, -1], torch.tensor(spec.silence_frame)) and 0.5 in spec.silence_frame
    assert torch.equal(crop[0, :, :-2], store.utterance("features", 0)[:, 2:])


def test_the_parts_of_a_mixture_share_the_room_on_a_device(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = Mixed({"a": prepared, "b": prepared, "c": prepared}, (0.5, 0.25, 0.25))
    size = MemoryStore(prepared).bytes
    monkeypatch.setattr("revoice.data.read.mixture.room_on", lambda device: 2.5 * size)
    store = held(mixed, (), list(prepared.folders), "cpu")
    assert isinstance(store, MixedStore) and [part.mapped for part in store._stores] == [False, False, True]


def test_half_of_a_gpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (100, 200))
    assert room_on("cuda:0") == 50 and room_on("cpu") == room_on(None) == float("inf")


def test_a_part_of_a_mixture_that_is_too_short_is_named(prepared: Prepared) -> None:
    store = held(Mixed({"a": prepared, "b": prepared}, (0.5, 0.5)), ("train",), ("features",))
    assert isinstance(store, MixedStore)
    positions = np.arange(len(store))
    store.require_long(positions, 8)
    store.lengths[store.sources == 1] = 7
    with pytest.raises(UserError, match="data.parts.b: none of its .* training utterances has the 8 frames"):
        store.require_long(positions, 8)
    store.require_long(positions, 10_000)  # all are shorter
