"""Corpora that hold everything a corpus should not hold."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import soundfile
import torch
from data_helpers import speakers_folder, touch
from test_prepare import SPEC, run, tree

from revoice.audio import decoding
from revoice.data.config import build
from revoice.data.corpora.folder import Folder
from revoice.data.corpora.librispeech import LibriSpeech
from revoice.data.corpora.manifest import Manifest
from revoice.data.fields.base import build_field
from revoice.data.fields.clip import load_clip
from revoice.data.memory import VoiceDataModule
from revoice.data.prepare import selection as module
from revoice.data.prepare.compute import Chunk
from revoice.data.prepare.places import PLACES
from revoice.data.prepare.preparation import Preparation, Prepared, prepare
from revoice.data.read.mapped import MappedField
from revoice.data.read.store import MemoryStore
from revoice.errors import UserError
from revoice.evaluation.session import Protocol, usable_trials
from revoice.evaluation.training_voices import TrainingVoices
from revoice.models.base import Requires
from tests.conftest import compose_config
from tests.hostile import RATE, REFUSED, USABLE, full_after, voice, write_hostile, write_ordinary, write_usable

FIELDS = ("features", "f0", "waveform", "embedding")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speakers_folder(tmp_path_factory.mktemp("corpus"), speakers=3, clips=4)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    write_ordinary(root)
    write_hostile(root / "odd")
    write_usable(root / "s0")
    (root / "one clip").mkdir()
    soundfile.write(root / "one clip" / "a.wav", voice(), RATE)
    for folder, name in ((b"s1", b"caf\xe9.wav"), (b"voice\xff", b"a.wav")):
        os.makedirs(os.path.join(os.fsencode(root), folder), exist_ok=True)
        with open(os.path.join(os.fsencode(root), folder, name), "wb") as file:
            file.write((root / "one clip" / "a.wav").read_bytes())
    os.mkfifo(root / "one clip" / "a.txt")  # would block whoever reads it
    return root


def assert_consistent(prepared: Prepared) -> None:
    """In = stored + rejected for every field; what is stored is finite and of the right length."""
    for label, folder in prepared.folders.items():
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        lists = {
            name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
            for name in ("utterances", "rejected")
        }
        assert index["stored"] == len(lists["utterances"]) and index["rejected"] == len(lists["rejected"])
        assert index["utterances"] == index["stored"] + index["rejected"]
        assert all(line["reason"] and "\n" not in line["reason"] for line in lists["rejected"])
        column = MappedField(folder).column
        array = column.array()
        assert len(array) == column.lengths.sum(), label
        assert np.isfinite(array.double().numpy()).all(), label
        assert not list(folder.glob("*.part"))
    store = MemoryStore(prepared)
    for position in range(len(store)):
        for label in prepared.folders:
            rate = store.column(label).per_frame
            if rate is not None:
                assert store.utterance(label, position).shape[-1] == store.lengths[position] * rate


def test_everything_at_once_is_prepared_and_trained_on(
    hostile: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from revoice.training.run import train

    config = compose_config(
        "train", "model=adain_vc_small", "data=folder", "debug=tiny", "logger=none", "trainer=cpu",
        "data.splits.limit=null", folder=tmp_path,
    )  # fmt: skip
    config["data"]["root"] = str(hostile)
    outcome = train(config, tmp_path / "run")
    assert outcome.metrics["iterations"] == 4 and outcome.metrics["rejected"] == len(REFUSED) + 2

    prepared = run(hostile, tmp_path / "out", FIELDS, trim_db=30)
    reasons = {Path(rejected.path).name: rejected.reason for rejected in prepared.rejected}
    assert set(reasons) == {*REFUSED, "caf\\xe9.wav", "a.wav"}
    for name, words in REFUSED.items():
        assert words in reasons[name] and str(hostile) not in reasons[name]
    assert "not valid UTF-8" in reasons["caf\\xe9.wav"] and "not valid UTF-8" in reasons["a.wav"]
    assert {Path(row.path).name for row in prepared.manifest} >= set(USABLE)
    assert_consistent(prepared)
    assert "26 of 52 utterances rejected" in caplog.text
    assert str(prepared.folders["features"] / "rejected.jsonl") in caplog.text
    assert Manifest.load(prepared.manifest_file).rows == prepared.manifest.rows


def test_what_becomes_of_odd_recordings(tmp_path: Path) -> None:
    """Usable as they are: nothing is repaired, nothing is hidden."""
    write_usable(tmp_path)
    for name, seconds in (("8 channels.wav", 0.6), ("192 kHz.wav", 0.6), ("8 bit.wav", 0.6), ("0.05 s.wav", 0.05)):
        clip = load_clip(tmp_path / name)
        assert clip.seconds == pytest.approx(seconds, abs=1e-3)
        assert len(clip.at(SPEC.sample_rate)) == pytest.approx(seconds * SPEC.sample_rate, abs=2)
    channels, _ = soundfile.read(tmp_path / "8 channels.wav", dtype="float32")
    np.testing.assert_allclose(load_clip(tmp_path / "8 channels.wav").audio.samples, channels.mean(1), atol=1e-6)
    assert load_clip(tmp_path / "offset.wav").audio.samples.mean() == pytest.approx(0.4, abs=0.01)
    assert np.abs(load_clip(tmp_path / "clipped.wav").audio.samples).max() == pytest.approx(1.0, abs=1e-4)


def test_a_file_that_is_listed_twice_is_rejected_the_second_time(tmp_path: Path) -> None:
    root = speakers_folder(tmp_path / "corpus", speakers=2, clips=2)
    lines = ["path,speaker", *(f"s{s}/clip{c}.wav,s{s}" for s in range(2) for c in range(2))]
    touch(root / "clips.csv", "\n".join([*lines, "s0/clip0.wav,s0", "./s0/clip0.wav,s1", "s0/gone.wav,s0"]) + "\n")
    prepared = run(root / "clips.csv", tmp_path / "out")
    assert {(r.id, r.path, r.reason) for r in prepared.rejected} == {
        ("s0-clip0-again-2", "s0/clip0.wav", "is listed twice"),
        ("s0-clip0-again-3", "s0/clip0.wav", "is listed twice"),
        ("s0-gone", "s0/gone.wav", "no such file"),
    }
    assert [row.id for row in prepared.manifest] == ["s0-clip0", "s0-clip1", "s1-clip0", "s1-clip1"]
    assert next(iter(prepared.manifest)).speaker == "s0"
    assert_consistent(prepared)


def test_ids_that_collide_or_do_not_fit_into_a_shard(tmp_path: Path) -> None:
    chapter = tmp_path / "train-clean-100" / "1" / "2"
    for name in ("1-2-0000.flac", "1-2-0000.wav", "a.b c.wav", "x" * 200 + ".wav"):
        touch(chapter / name, "")
        soundfile.write(chapter / name, voice(), RATE, format="WAV")
    prepared = prepare(
        LibriSpeech(tmp_path), SPEC, ["features"], tmp_path / "out", how=Preparation(workers=0), progress=False
    )
    assert [(r.id, r.reason) for r in prepared.rejected] == [
        ("1-2-0000-again-2", "has the same id as train-clean-100/1/2/1-2-0000.flac")
    ]
    assert len(prepared.manifest) == 3 and all(len(row.id) <= 80 for row in prepared.manifest)
    assert_consistent(prepared)


@pytest.mark.parametrize("path", [".", "/", "a\0b.wav", "..", "pipe.wav", "x" * 300 + ".wav"])
def test_a_csv_may_name_anything(path: str, tmp_path: Path) -> None:
    root = speakers_folder(tmp_path / "corpus", speakers=1, clips=2)
    os.mkfifo(root / "pipe.wav")
    touch(root / "clips.csv", f"path,speaker\ns0/clip0.wav,s\n{path},s\n")
    prepared = run(root / "clips.csv", tmp_path / "out")
    assert len(prepared.manifest) == len(prepared.rejected) == 1


def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    root = os.path.join(os.fsencode(tmp_path), b"\xff")
    os.makedirs(os.path.join(root, b"s"))
    with pytest.raises(UserError, match=r"\\xff is not valid UTF-8"):
        Folder(os.fsdecode(root)).manifest()


def test_a_file_that_nobody_may_read(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> BinaryIO:
        if path.name == "clip2.wav":
            raise PermissionError(errno.EACCES, "Permission denied")
        return open(path, mode)

    monkeypatch.setattr(decoding, "open", refuse, raising=False)
    prepared = run(corpus, tmp_path)
    assert [(r.path, r.reason) for r in prepared.rejected] == [
        (f"s{n}/clip2.wav", "not readable (Permission denied)") for n in range(3)
    ]
    assert len(prepared.manifest) == 9
    assert_consistent(prepared)


def test_a_folder_that_nobody_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = speakers_folder(tmp_path / "corpus", speakers=2, clips=2)
    shutil.move(root / "s1" / "clip1.wav", touch(root / "s1" / "later" / "x").parent / "clip1.wav")
    look = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("later"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse)
    prepared = run(root, tmp_path / "out")
    assert len(prepared.manifest) == 3
    assert [(r.path, r.reason) for r in prepared.rejected] == [
        ("s1/later", "is a folder that cannot be read (Permission denied)")
    ]
    assert_consistent(prepared)


def test_files_that_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the listing and the decoding one is rejected; once prepared, none is needed."""
    root = speakers_folder(tmp_path / "corpus", speakers=3, clips=4)
    hashes = module.content_hashes

    def then_lose(*arguments: object) -> dict[str, str]:
        found = hashes(*arguments)  # type: ignore[arg-type]
        (root / "s1" / "clip2.wav").unlink()
        return found

    monkeypatch.setattr(module, "content_hashes", then_lose)
    prepared = run(root, tmp_path / "out")
    assert [(r.path, r.reason) for r in prepared.rejected] == [("s1/clip2.wav", "no such file")]
    shutil.rmtree(root)
    data = VoiceDataModule(prepared, Requires(fields=("features",), frames=16), batch_size=4)
    assert next(iter(data.batches())).features.shape == (4, 80, 16)


@pytest.mark.parametrize(
    "name",
    ["shard-000001.tar", "shard-000001.jsonl", "utterances.jsonl", "rejected.jsonl", "index.json", PLACES],
)
@pytest.mark.parametrize("left", [0.0, 0.5, None])
def test_what_lost_bytes_after_it_was_written_is_made_again(
    name: str, left: float | None, corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run(corpus, tmp_path).folders["features"]
    MappedField(folder)
    whole = tree(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("shard-*.tar")}
    path = folder / name
    if left is None:
        path.unlink()
    else:
        os.truncate(path, int(left * path.stat().st_size))
    prepared = run(corpus, tmp_path)
    MappedField(prepared.folders["features"])
    assert tree(tmp_path) == whole
    changed = [p.name for p, stamp in stamps.items() if p.stat().st_mtime_ns != stamp]
    assert changed == (["shard-000001.tar"] if name.startswith("shard") else [])
    empty = path.stat().st_size == 0  # no rejects: nothing to lose
    if name != "index.json" and left is not None and not empty:
        assert "made again" in caplog.text and name in caplog.text


def test_a_shard_that_was_cut_during_an_interrupted_preparation(corpus: Path, tmp_path: Path) -> None:
    folder = run(corpus, tmp_path).folders["features"]
    whole = tree(tmp_path)
    for size in (0, 700, 512 * 9, (folder / "shard-000000.tar").stat().st_size // 2):
        (folder / "index.json").unlink()
        os.truncate(folder / "shard-000000.tar", size)
        run(corpus, tmp_path)
        assert tree(tmp_path) == whole


def test_an_index_of_an_earlier_version_is_read(corpus: Path, tmp_path: Path) -> None:
    prepared = run(corpus, tmp_path)
    path = prepared.folders["features"] / "index.json"
    index = json.loads(path.read_text())
    del index["bytes"]
    path.write_text(json.dumps(index))
    stamp = path.stat().st_mtime_ns
    assert run(corpus, tmp_path) == prepared and path.stat().st_mtime_ns == stamp
    assert len(MemoryStore(prepared)) == 12


def test_damage_that_keeps_its_size_is_told_in_one_line(corpus: Path, tmp_path: Path) -> None:
    prepared = run(corpus, tmp_path)
    shard = prepared.folders["features"] / "shard-000001.tar"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(UserError, match="is damaged .*: delete it and index.json") as caught:
        MemoryStore(prepared)
    assert "\n" not in str(caught.value) and not (shard.parent / PLACES).exists()


@pytest.mark.parametrize("size", [0, 100, 1500, 5000, 20000, 60000, 80000])
def test_a_full_disk_while_preparing(size: int, corpus: Path, tmp_path: Path) -> None:
    """Whichever file meets it: one line, nothing half-written, and the same bytes once there is space."""
    with full_after(size), pytest.raises(UserError, match="File too large") as caught:
        run(corpus, tmp_path / "out", ("features", "waveform"))
    assert "\n" not in str(caught.value) and str(tmp_path / "out") in str(caught.value)
    assert not list((tmp_path / "out").rglob("*.part")) and not list((tmp_path / "out").rglob("index.json"))
    again = run(corpus, tmp_path / "out", ("features", "waveform"))
    run(corpus, tmp_path / "undisturbed", ("features", "waveform"))
    assert tree(tmp_path / "out") == tree(tmp_path / "undisturbed")
    assert len(MemoryStore(again)) == 12


def test_a_full_disk_at_the_first_use(corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be remembered is found out at every start."""
    prepared = run(corpus, tmp_path)
    with full_after(100):
        store = MemoryStore(prepared)
    folder = prepared.folders["features"]
    assert f"cannot write {PLACES} to {folder}: File too large: that is found out anew at every start" in caplog.text
    assert not list(tmp_path.rglob("*places*"))
    assert torch.equal(store.utterance("features", 3), MemoryStore(prepared).utterance("features", 3))
    assert_consistent(prepared)


def test_no_space_left_is_told_as_such(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(UserError, match="preparing into .*No space left on device.*start again"):
            run(corpus, tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    assert len(run(corpus, tmp_path).manifest) == 12


def test_the_chunk_of_a_problem_is_not_read(tmp_path: Path) -> None:
    fields = (build_field("features", SPEC),)
    chunk = Chunk(0, True, (("a", "a.wav", tmp_path / "a.wav"),), fields, None, {"a": "is listed twice"})
    assert module.compute_chunk(chunk)[0].reasons == {"features": "is listed twice"}


def test_an_evaluation_takes_recordings_that_can_be_read(
    hostile: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = compose_config("prepare", "data=folder", folder=tmp_path)["data"] | {"root": str(hostile)}
    manifest = build(config).manifest()
    assert not any("\\xe9" in row.path for row in manifest)  # known to be of no use
    trials = usable_trials(manifest, Protocol(voices=3, sentences_per_pair=4), TrainingVoices()).trials
    chosen = [trial for group in trials.values() for trial in group]
    names = {Path(row.path).name for t in chosen for row in (t.source, *t.references)}
    assert chosen and not names & set(REFUSED) and "not evaluated: " in caplog.text
