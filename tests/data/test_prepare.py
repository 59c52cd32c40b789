import errno
import hashlib
import json
import math
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from data_helpers import speakers_folder, tone, touch, write_tone

from revoice.audio.features import extract
from revoice.audio.ffmpeg import _Shared
from revoice.audio.io import AudioError, read_audio
from revoice.audio.presets import load_preset
from revoice.data.corpora.folder import Folder
from revoice.data.corpora.manifest import Manifest
from revoice.data.corpora.splits import Splits
from revoice.data.fields.base import Field
from revoice.data.files import locked
from revoice.data.prepare import selection as module
from revoice.data.prepare.places import PLACES
from revoice.data.prepare.preparation import Preparation, Prepared, prepare, prepare_share
from revoice.data.prepare.shards import read_shard, shard_lines
from revoice.data.setup import MixtureSetup
from revoice.errors import UserError

SPEC = load_preset("mel_22k")


def run(root: Path, out: Path, fields: tuple = ("features",), **settings) -> Prepared:
    splits = settings.pop("splits", None)
    how = Preparation(**{"workers": 0, "shard_utterances": 5, **settings})
    return prepare(Folder(root), SPEC, fields, out, splits, how, progress=False)


def tree(folder: Path) -> dict[str, bytes]:
    """Every prepared file by name (without locks and the memories of file times)."""
    files = {path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", PLACES)}
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(files) if not p.name.startswith("hashes-")}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speakers_folder(tmp_path_factory.mktemp("corpus"), speakers=3, clips=4)


@pytest.mark.parametrize(("worth", "workers"), [(600.0, 0), (2.0, 2)])
def test_long_recordings_are_worth_a_worker_however_few_they_are(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, worth: float,
    workers: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "SECONDS_WORTH_A_WORKER", worth)
    monkeypatch.setattr(module, "usable_cpus", lambda: 2)
    with caplog.at_level("INFO", logger="revoice"):
        run(corpus, tmp_path, workers=None)
    assert f"({workers} workers)" in caplog.text


def test_shards_hold_what_conversion_computes(corpus: Path, tmp_path: Path) -> None:
    prepared = run(corpus, tmp_path, ("features", "f0", "waveform"))
    assert len(prepared.manifest) == 12 and not prepared.rejected
    folder = prepared.folders["features"]
    assert [p.name for p in sorted(folder.glob("*.tar"))] == [f"shard-{i:06d}.tar" for i in range(3)]
    stored = dict(item for path in sorted(folder.glob("*.tar")) for item in read_shard(path))
    assert sorted(stored) == [row.id for row in prepared.manifest]
    assert list(stored) == sorted(stored, key=lambda id: hashlib.sha256(id.encode()).digest())  # shuffled
    for row in prepared.manifest:
        expected = extract(read_audio(prepared.manifest.file(row), SPEC.sample_rate).samples, SPEC).T.numpy()
        assert stored[row.id].dtype == np.float16 and np.array_equal(stored[row.id], expected.astype(np.float16))
        assert row.seconds == pytest.approx(soundfile.info(prepared.manifest.file(row)).duration)
        assert len(row.sha256) == 64 and row.split
    index = json.loads((folder / "index.json").read_text())
    assert (index["utterances"], index["stored"], index["rejected"]) == (12, 12, 0)
    assert index["spec"] == SPEC.to_dict() and index["parameters"]["fingerprint"] == SPEC.fingerprint
    recorded = Manifest.load(prepared.manifest_file)
    assert recorded.rows == prepared.manifest.rows and recorded.info["splits"]["seed"] == 0


def test_webdataset_reads_the_shards(corpus: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    prepared = run(corpus, tmp_path)
    first = str(prepared.folders["features"] / "shard-000000.tar")
    samples = list(webdataset.WebDataset([first], shardshuffle=False).decode())
    assert [s["__key__"] for s in samples] == [line["id"] for line in shard_lines(prepared.folders["features"], 0)]
    assert samples[0]["features.npy"].shape[1] == SPEC.channels


def test_the_same_bytes_with_any_number_of_workers(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    fields = ("features", "f0", "embedding")
    trees = []
    for workers in (0, 2):
        run(corpus, tmp_path / str(workers), fields, workers=workers, trim_db=30)
        trees.append(tree(tmp_path / str(workers)))
    assert trees[0] == trees[1] and len(trees[0]) == 3 * (3 + 3 + 3) + 1


def test_a_second_call_computes_nothing(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(corpus, tmp_path)
    before = tree(tmp_path)
    monkeypatch.setattr(module, "ordered_map", None)
    second = run(corpus, tmp_path, splits=Splits())
    assert second == first and tree(tmp_path) == before


def test_a_new_field_or_split_leaves_the_old_shards_alone(corpus: Path, tmp_path: Path) -> None:
    first = run(corpus, tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in first.folders["features"].iterdir()}
    second = run(corpus, tmp_path, ("features", "waveform"), splits=Splits(seed=5))
    assert second.folders["features"] == first.folders["features"]
    assert stamps == {p: p.stat().st_mtime_ns for p in first.folders["features"].iterdir()}
    assert second.manifest_file != first.manifest_file and first.manifest_file.exists()
    assert run(corpus, tmp_path, trim_db=30).folders["features"] != first.folders["features"]
    assert run(corpus, tmp_path, trim_db=30).folders == run(corpus, tmp_path, trim_db=30.0).folders


def test_a_changed_file_is_prepared_again(tmp_path: Path) -> None:
    root = speakers_folder(tmp_path / "corpus", speakers=1, clips=2)
    first = run(root, tmp_path / "out")
    write_tone(root / "s0" / "clip0.wav", seconds=0.3, f0=300)  # as long as before
    second = run(root, tmp_path / "out")
    assert second.folders != first.folders and second.manifest.rows[0].sha256 != first.manifest.rows[0].sha256


def test_broken_files_are_recorded_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = speakers_folder(tmp_path / "corpus", speakers=2, clips=3)
    touch(root / "s0" / "empty.wav")
    touch(root / "s0" / "text.wav", "this is no audio")
    soundfile.write(root / "s1" / "nan.wav", np.full(8000, np.nan, np.float32), 16000, subtype="FLOAT")
    soundfile.write(root / "s1" / "short.wav", tone(0.001), 16000)
    good = (root / "s0" / "clip0.wav").read_bytes()
    (root / "s1" / "cut.flac").write_bytes(good[:40])
    prepared = run(root, tmp_path / "out", ("features", "embedding"))
    assert len(prepared.manifest) == 6 and len(prepared.rejected) == 5
    reasons = {rejected.path: rejected.reason for rejected in prepared.rejected}
    assert set(reasons) == {"s0/empty.wav", "s0/text.wav", "s1/nan.wav", "s1/short.wav", "s1/cut.flac"}
    assert "not finite" in reasons["s1/nan.wav"] and str(root) not in "".join(reasons.values())
    for folder in prepared.folders.values():
        index = json.loads((folder / "index.json").read_text())
        assert index["utterances"] == 11 == index["stored"] + index["rejected"]
        assert len((folder / "rejected.jsonl").read_text().splitlines()) == index["rejected"]
    assert "5 of 11 utterances rejected" in caplog.text


def test_nothing_usable_names_the_reasons_and_is_tried_again(tmp_path: Path) -> None:
    for name in "ab":
        touch(tmp_path / "corpus" / "s" / f"{name}.wav", "no audio")
    with pytest.raises(UserError, match=r"none of the 2 utterances.*s/a\.wav: .*s/b\.wav: "):
        run(tmp_path / "corpus", tmp_path / "out")
    with pytest.raises(UserError, match="none of the 2"):
        run(tmp_path / "corpus", tmp_path / "out")


def test_what_wants_pyav_is_tried_again_once_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = speakers_folder(tmp_path / "corpus", speakers=1, clips=2)
    touch(root / "s0" / "memo.m4a", "no audio")
    for place in ("revoice.audio.ffmpeg", "revoice.data.prepare.selection"):
        monkeypatch.setattr(f"{place}.available", lambda: False)
    assert "PyAV, which is not installed" in run(root, tmp_path / "out").rejected[0].reason
    for place in ("revoice.audio.ffmpeg", "revoice.data.prepare.selection"):
        monkeypatch.setattr(f"{place}.available", lambda: True)
    readable = _Shared((root / "s0" / "clip0.wav").open("rb"))
    monkeypatch.setattr("revoice.audio.ffmpeg._decoded", lambda path, size, changed: readable)
    assert not run(root, tmp_path / "out").rejected


def test_a_disk_that_is_full_elsewhere_condemns_no_recording(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, trim_db: float | None) -> None:
        raise AudioError(f"{file}: not readable") from OSError(errno.ENOSPC, "No space left on device in /tmp")

    with monkeypatch.context() as full:
        full.setattr("revoice.data.prepare.compute.load_clip", refuse)
        with pytest.raises(UserError, match="failed: No space left on device in /tmp; whole shards are kept"):
            run(corpus, tmp_path)
    assert not run(corpus, tmp_path).rejected


def test_lost_utterances_are_noticed(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(corpus, tmp_path).folders["features"]
    whole = tree(tmp_path)
    lines = (folder / "shard-000001.jsonl").read_text().splitlines()

    def lose() -> None:
        (folder / "index.json").unlink()
        (folder / "shard-000001.jsonl").write_text("\n".join(lines[1:]) + "\n")

    lose()
    run(corpus, tmp_path)
    assert tree(tmp_path) == whole  # made again
    lose()
    monkeypatch.setattr(module, "is_whole", lambda shard, ids: shard.exists())
    with pytest.raises(UserError, match=r"12 utterances in, but 11 stored \+ 0 rejected"):
        run(corpus, tmp_path)


def test_an_unwritable_place_is_a_users_error(corpus: Path, tmp_path: Path) -> None:
    touch(tmp_path / "file")
    with pytest.raises(UserError, match="cannot write prepared data"):
        run(corpus, tmp_path / "file")


@dataclass(frozen=True)
class Slow(Field):
    """A field that nobody registered, and that takes its time."""

    name = "codes"  # type: ignore[misc]
    dtype = "int64"
    pause: float = 0.0

    @property
    def label(self) -> str:
        return "codes:abc"

    @property
    def scale(self) -> None:
        return None

    def parameters(self) -> dict:
        return {}

    def compute(self, clips) -> list:
        time.sleep(self.pause)
        return [np.arange(SPEC.frames(len(clip.at(SPEC.sample_rate)))) for clip in clips]


def test_a_field_object_from_elsewhere(corpus: Path, tmp_path: Path) -> None:
    prepared = run(corpus, tmp_path, ("features", Slow()))
    assert prepared.folders["codes:abc"].name.startswith("codes-abc-")


def prepare_slowly(root: Path, out: Path, pause: float, workers: int) -> None:
    os.setsid()  # a group of its own: whom it leaves behind is found
    module.CHUNK = 1
    run(root, out, ("features", Slow(pause=pause)), workers=workers, shard_utterances=3)


def start(root: Path, out: Path, pause: float, workers: int) -> multiprocessing.Process:
    from tests.forks import FORK  # here: workers, which look for `Slow` in this file, need none of it

    process = FORK.Process(target=prepare_slowly, args=(root, out, pause, workers))
    process.start()
    return process  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.parametrize(("kill", "workers"), [(signal.SIGTERM, 0), (signal.SIGKILL, 2)])
def test_an_interrupted_preparation_is_taken_up(corpus: Path, tmp_path: Path, kill: int, workers: int) -> None:
    process = start(corpus, tmp_path / "out", pause=0.3, workers=workers)
    until(lambda: list((tmp_path / "out").rglob(".shard-000001.tar.*.part")))
    os.kill(process.pid, kill)
    process.join(120)
    assert process.exitcode == -kill
    until(lambda: not alive(process.pid))  # its workers end with it
    assert not list((tmp_path / "out").rglob("index.json"))
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.tar")}
    assert len(whole) in (2, 3)
    fields = ("features", Slow())
    run(corpus, tmp_path / "out", fields, shard_utterances=3)
    assert whole == {path: path.stat().st_mtime_ns for path in whole}  # nothing done twice
    run(corpus, tmp_path / "undisturbed", fields, shard_utterances=3)
    assert tree(tmp_path / "out") == tree(tmp_path / "undisturbed")


def test_two_processes_at_once(corpus: Path, tmp_path: Path) -> None:
    processes = [start(corpus, tmp_path / "out", pause=0.05, workers=0) for _ in range(2)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    run(corpus, tmp_path / "alone", ("features", Slow()), shard_utterances=3)
    assert tree(tmp_path / "out") == tree(tmp_path / "alone")


def test_shares_of_several_machines_make_the_same_corpus(corpus: Path, tmp_path: Path) -> None:
    settings = {"how": Preparation(shard_utterances=2), "progress": False}
    parts = [Folder(corpus), SPEC, ("features", "f0"), tmp_path / "out"]
    assert prepare_share(*parts, (1, 4), **settings) == 2 * (6 - 2)  # shards 1 and 5 of both fields are there
    assert not list((tmp_path / "out").rglob("index.json"))
    assert prepare_share(*parts, (3, 4), **settings) == 2 * (6 - 3)
    assert prepare_share(*parts, (3, 4), **settings) == 2 * (6 - 3)  # again: nothing to do
    assert prepare_share(*parts, (0, 4), **settings) == 2 * (6 - 5)
    assert prepare_share(*parts, (2, 4), **settings) == 0
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.tar")}
    prepare(*parts, **settings)
    assert whole == {path: path.stat().st_mtime_ns for path in whole}
    prepare(*parts[:3], tmp_path / "alone", **settings)
    made = {name: data for name, data in tree(tmp_path / "out").items() if not name.endswith(".lock")}
    assert made == tree(tmp_path / "alone")
    for wrong in (4, 4), (-1, 4), (0, 0):
        with pytest.raises(UserError, match=rf"shard={wrong[0]} of prepare.shards={wrong[1]}: expected 0 to"):
            prepare_share(*parts, wrong, **settings)


def test_shares_of_another_number_are_refused_while_some_are_at_work(corpus: Path, tmp_path: Path) -> None:
    settings = {"how": Preparation(shard_utterances=2), "progress": False}
    parts = [Folder(corpus), SPEC, ("features",), tmp_path / "out"]
    assert prepare_share(*parts, (0, 3), **settings) == 4
    folder = next((tmp_path / "out").rglob(".share-0-of-3.lock")).parent
    with locked(folder, ".share-1-of-3.lock"):
        with pytest.raises(UserError, match=r"in 3 shares, and this is one of 2: type prepare.shards=3"):
            prepare_share(*parts, (0, 2), **settings)
        assert prepare_share(*parts, (2, 3), **settings) == 2
    assert prepare_share(*parts, (1, 2), **settings) == 1  # nobody at work: any number will do


def test_shares_of_a_mixture_are_counted_when_all_parts_are_done() -> None:
    """While this share was at the second part, another one finished the first."""
    left = {"first": [2, 0], "second": [1, 1]}
    parts = {name: SimpleNamespace(prepare_share=lambda *_, name=name: left[name].pop(0)) for name in left}
    assert MixtureSetup.prepare_share(SimpleNamespace(parts=parts), SPEC, ("features",), "out", (0, 2)) == 1
    assert left == {"first": [], "second": []}


@pytest.mark.parametrize(
    "settings", [{"shard_utterances": 0}, {"workers": -1}, {"trim_db": -5.0}, {"trim_db": math.nan}]
)
def test_settings_that_make_no_sense(settings: dict) -> None:
    with pytest.raises(UserError, match=f"Preparation.{next(iter(settings))}=.*: expected a"):
        Preparation(**settings)


def test_no_fields_at_all(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fields=\[\]: expected at least one"):
        run(corpus, tmp_path, ())


def until(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)


def alive(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
