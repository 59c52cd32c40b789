"""Streams: every item once, resumed to the item, the same from a folder or a server; mixtures."""

import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from data_helpers import speakers_folder, write_tone

from revoice.audio.presets import load_preset
from revoice.data.config import build
from revoice.data.corpora.folder import Folder
from revoice.data.corpora.splits import Splits
from revoice.data.memory import VoiceDataModule
from revoice.data.prepare.preparation import Preparation, Prepared, prepare
from revoice.data.read.batch import Batch, Requires
from revoice.data.read.columns import Columns
from revoice.data.read.stream import signals as reader_signals
from revoice.data.read.stream.index import FORMAT, Stream
from revoice.data.read.stream.module import StreamDataModule
from revoice.data.read.stream.reader import StreamPlan
from revoice.data.read.stream.remote import fetch
from revoice.data.read.stream.writer import write_stream
from revoice.errors import UserError

SPEC = load_preset("mel_22k")


def needs(**changes: Any) -> Requires:
    wanted: dict[str, Any] = {"fields": ("features", "f0", "embedding"), "frames": 24, "minimum": 8, "reference": 16}
    return Requires(**{**wanted, **changes})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = speakers_folder(tmp_path_factory.mktemp("corpus"), speakers=4, clips=10)
    return prepare(
        Folder(root), SPEC, ("features", "f0", "embedding"), tmp_path_factory.mktemp("out"),
        Splits(unseen_speakers=["s3"], test_sentences=0.1, val=0.1), Preparation(workers=0, shard_utterances=3),
        progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def stream(prepared: Prepared) -> Stream:
    return Stream.open(write_stream(prepared))


def module(*streams: Stream, requires: Requires | None = None, **settings) -> StreamDataModule:
    settings = {"batch_size": 4, "seed": 1, "shards": 2, "workers": 0, "rank": 0, "world_size": 1, **settings}
    return StreamDataModule(streams, requires or needs(), **settings)


def batches(data: StreamDataModule, count: int, start: int = 0) -> list[Batch]:
    data.start_iteration = start
    return list(islice(iter(data.batches()), count))


def equal(one: Batch, other: Batch) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("features", "f0", "embedding", "speaker")]
    return (one.id, one.draws) == (other.id, other.draws) and all(torch.equal(a, b) for a, b in pairs)


def test_the_index_says_what_memory_says(prepared: Prepared, stream: Stream) -> None:
    memory = VoiceDataModule(prepared, needs(), rank=0, world_size=1)
    data = module(stream)
    for one, other in (
        (data.statistics().mean, memory.statistics().mean),
        (data.statistics().std, memory.statistics().std),
    ):
        assert torch.allclose(one, other, rtol=1e-6)
    assert data.pitch_levels() == pytest.approx(memory.pitch_levels(), rel=1e-6)
    assert data.pitch_deviations() == pytest.approx(memory.pitch_deviations(), rel=1e-4)
    assert (data.tables, data.facts) == (memory.tables, memory.facts)
    ours = {id: b for batch in data.val_dataloader() for id, b in zip(batch.id, batch.features, strict=True)}
    theirs = {id: b for batch in memory.val_dataloader() for id, b in zip(batch.id, batch.features, strict=True)}
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[id], theirs[id]) for id in ours)
    assert write_stream(prepared) == Path(stream.address)


def test_it_says_that_no_recordings_are_known_to_say_the_same(stream: Stream, caplog: pytest.LogCaptureFixture) -> None:
    module(stream)
    assert "nothing is compared" not in caplog.text
    data = module(stream, requires=replace(needs(), parallel=40))
    assert "nothing is compared" in caplog.text
    for batch in batches(data, 3):
        assert batch.parallel.shape == (4, 80, 40) and torch.equal(batch.parallel_emotion, batch.emotion)


def test_crops_are_those_of_the_files(prepared: Prepared, stream: Stream) -> None:
    memory = VoiceDataModule(prepared, needs(), rank=0, world_size=1)
    place = {id: i for i, id in enumerate(memory.store.ids)}
    for batch in batches(module(stream), 12):
        assert batch.features.shape == (4, 80, 24) and batch.reference.shape == (4, 80, 16)
        for row, id in enumerate(batch.id):
            whole, valid = memory.store.utterance("features", place[id]), int(batch.lengths[row])
            windows = whole.unfold(1, valid, 1)  # (80, places, valid)
            found = (windows == batch.features[row, :, None, :valid]).all(-1).all(0)
            assert found.any()
            start = int(found.nonzero()[0, 0])
            f0 = memory.store.utterance("f0", place[id])[start : start + valid]
            assert torch.equal(batch.f0[row, :valid], f0)
            said = memory.store.rows[place[id]].speaker
            tells = [  # the clip that tells the voice: the one that the reference is a crop of
                i for i in range(len(memory.store))
                if torch.equal(batch.embedding[row], memory.store.utterance("embedding", i))
            ]  # fmt: skip
            assert [memory.store.rows[i].speaker for i in tells] == [said]
            heard = memory.store.utterance("features", tells[0]).unfold(1, 16, 1)
            assert (heard == batch.reference[row][:, None]).all(-1).all(0).any()
            assert memory.tables.speakers[batch.speaker[row]] == memory.store.rows[place[id]].speaker


@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (2, 0), (1, 2), (2, 2)])
def test_every_utterance_once_an_epoch(prepared: Prepared, stream: Stream, world_size: int, workers: int) -> None:
    train = {row.id for row in prepared.manifest.select("train")}
    seen: Counter[str] = Counter()
    for rank in range(world_size):
        data = module(stream, batch_size=world_size, rank=rank, world_size=world_size, workers=workers)
        readers = max(workers, 1)
        for worker in range(readers):  # what each worker would deliver, without starting it
            plan = data.batches().plan
            order = np.random.default_rng([1, 0]).permutation(len(stream.counts))
            mine = int(stream.counts[order[rank * readers + worker :: world_size * readers]].sum())
            seen.update(id for batch in islice(plan.batches(worker), mine) for id in batch.id)
    assert seen == Counter(train)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("sampler", ["uniform", "by_speaker"])
def test_resuming_goes_on_at_the_very_item(stream: Stream, workers: int, sampler: str) -> None:
    data = module(stream, requires=needs(sampler=sampler), workers=workers, micro_batches=2)
    plan = data.batches().plan

    def delivered(start: int, count: int) -> list[Batch]:  # as the loader asks its workers, in turn
        lines = [replace(plan, start=start).batches(worker) for worker in range(max(workers, 1))]
        return [next(lines[number % len(lines)]) for number in range(count)]

    whole = delivered(0, 60)
    for start in (1, 2, 7, 23):
        resumed = delivered(start, 8)
        assert all(equal(a, b) for a, b in zip(resumed, whole[2 * start : 2 * start + 8], strict=True))
    assert len({batch.id for batch in whole}) > 30


def test_worker_processes_deliver_the_same(stream: Stream) -> None:
    data = module(stream, workers=2)
    plan = data.batches().plan
    lines = [plan.batches(worker) for worker in range(2)]
    expected = [next(lines[number % 2]) for number in range(9)]
    assert all(equal(a, b) for a, b in zip(batches(data, 9), expected, strict=True))


class _Quiet(SimpleHTTPRequestHandler):
    asked: Counter[str] = Counter()
    fail_first: set[str] = set()

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        type(self).asked[name] += 1
        if name in self.fail_first and self.asked[name] == 1:
            self.send_error(503)
        else:
            super().do_GET()


@pytest.fixture
def server(stream: Stream) -> Iterator[str]:
    folder = Path(stream.address).parent
    _Quiet.asked, _Quiet.fail_first = Counter(), set()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/{Path(stream.address).name}"
        http.shutdown()


def test_a_server_gives_what_the_folder_gives(stream: Stream, server: str) -> None:
    remote = Stream.open(server)
    assert remote.facts == stream.facts
    local, far = batches(module(stream), 12), batches(module(remote), 12)
    assert all(equal(a, b) for a, b in zip(local, far, strict=True))


def test_a_server_that_stumbles_is_asked_again(
    stream: Stream, server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("revoice.data.read.stream.remote.TRIES", (0.01, 0.01))
    _Quiet.fail_first = {name for name, _ in stream.shards}
    local, far = batches(module(stream), 6), batches(module(Stream.open(server)), 6)
    assert all(equal(a, b) for a, b in zip(local, far, strict=True))
    assert "again in" in caplog.text


def test_a_server_that_is_gone_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("revoice.data.read.stream.remote.TRIES", (0.01, 0.01))
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as http:
        address = f"http://127.0.0.1:{http.server_port}/x"
    with pytest.raises(OSError, match="Cannot connect"):
        fetch(address)
    assert caplog.text.count("again in") == 2


def test_anything_that_fsspec_opens(stream: Stream) -> None:
    memory, folder = fsspec.filesystem("memory"), Path(stream.address).parent
    memory.put(str(folder), "/corpus", recursive=True)
    remote = Stream.open(f"memory://corpus/{Path(stream.address).name}")
    assert all(equal(a, b) for a, b in zip(batches(module(stream), 4), batches(module(remote), 4), strict=True))


@pytest.fixture
def copy(stream: Stream, tmp_path: Path) -> Stream:
    folder = Path(stream.address)
    shutil.copytree(folder.parent, tmp_path / "copy")
    return Stream.open(tmp_path / "copy" / folder.name)


def test_a_shard_that_cannot_be_read_is_left_out(copy: Stream, caplog: pytest.LogCaptureFixture) -> None:
    folder = Path(copy.address, copy.fields["features"]["folder"])
    name, count = max(copy.shards, key=lambda shard: shard[1])
    lost = {
        line[0] for line in map(json.loads, Path(copy.address, f"{Path(name).stem}.jsonl").read_text().splitlines())
    }
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    found = batches(module(copy, shards=4), 30)
    assert f"{name} of" in caplog.text and "left out" in caplog.text
    heard = {id for batch in found for id in batch.id}
    assert count == 3 and not heard & lost and len(heard) == copy.counts.sum() - count
    for other, _ in copy.shards:
        (folder / other).write_bytes(b"")
    with pytest.raises(UserError, match="nothing left to train on: shard-.*prepare or copy it again"):
        batches(module(copy), 1)


def lose(stream: Stream, *places: int) -> set[str]:
    """Damage shards; the utterances that were in them."""
    lost = set()
    for place in places:
        name, _ = stream.shards[place]
        lines = Path(stream.address, f"{Path(name).stem}.jsonl").read_text(encoding="utf-8").split("\n")
        lost |= {json.loads(line)[0] for line in lines if line}
        shard = Path(stream.address, stream.fields["features"]["folder"], name)
        shard.write_bytes(shard.read_bytes()[:100])
    return lost


def lines_of_work(plan: StreamPlan, start: int, count: int) -> list[Batch]:
    """The batches from `start` on, as the loader asks its workers for them, in turn."""
    workers = max(plan.workers, 1)
    lines = [replace(plan, start=start).batches(worker) for worker in range(workers)]
    return [next(lines[number % workers]) for number in range(count)]


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("readers", ["one", "as many as shards"])
def test_a_group_that_cannot_be_read_is_replaced_and_resumes_alike(
    copy: Stream, caplog: pytest.LogCaptureFixture, shards: int, readers: str
) -> None:
    copy = replace(copy, shards=copy.shards[:7])  # of one reader, the last group of an epoch is a single shard
    order = np.random.default_rng([1, 0]).permutation(7)
    lost = lose(copy, order[-1], order[-2]) if shards == 1 else lose(copy, order[-1])
    plan = module(copy, shards=shards, batch_size=3, workers=0 if readers == "one" else 7).batches().plan
    whole = lines_of_work(plan, 0, 42)
    heard = {id for batch in whole for id in batch.id}
    assert "left out" in caplog.text and not heard & lost
    assert len(heard | lost) == copy.counts.sum()
    for start in range(0, 34, 3):
        assert all(equal(a, b) for a, b in zip(lines_of_work(plan, start, 8), whole[start : start + 8], strict=True))


@pytest.mark.parametrize("left", [0, 6])
def test_one_shard_is_enough_to_go_on(copy: Stream, left: int) -> None:
    copy = replace(copy, shards=copy.shards[:7])
    lost = lose(copy, *(place for place in range(7) if place != left))
    heard = {id for batch in batches(module(copy, shards=1), 12) for id in batch.id}
    assert len(heard) == copy.counts[left] and not heard & lost


def test_a_group_without_labels_is_replaced(copy: Stream) -> None:
    copy = replace(copy, shards=copy.shards[:4])
    labeled = needs(labels=("gender",))
    with pytest.raises(UserError, match="does not tell the gender, which this model learns from"):
        batches(module(copy, shards=1, requires=labeled), 1)
    file = Path(copy.address, f"{Path(copy.shards[2][0]).stem}.jsonl")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    file.write_text("".join(json.dumps([*line[:2], 0, *line[3:]]) + "\n" for line in lines), encoding="utf-8")
    heard = {id for batch in batches(module(copy, shards=1, requires=labeled), 8) for id in batch.id}
    assert heard == {line[0] for line in lines}


def test_a_shorter_list_of_utterances_is_damage(copy: Stream, caplog: pytest.LogCaptureFixture) -> None:
    for name, _ in copy.shards:
        Path(copy.address, f"{Path(name).stem}.jsonl").write_text("")
    with pytest.raises(UserError, match=r"nothing left to train on: shard-.*it lists 0 utterances, the index [123]"):
        batches(module(copy, shards=1), 1)
    assert caplog.text.count("left out") == 1  # not again for those that could have stood in


def test_those_that_stand_in_are_asked_for_once(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an address without its shards is waited for as often as there are shards."""
    monkeypatch.setattr("revoice.data.read.stream.remote.TRIES", (0.01, 0.01))
    remote = Stream.open(server)
    fields = {label: {**about, "folder": "../gone"} for label, about in remote.fields.items()}
    data = module(replace(remote, fields=fields), shards=1)
    _Quiet.asked.clear()  # of the validation utterances
    with pytest.raises(UserError, match="nothing left to train on"):
        batches(data, 1)
    asked = sorted(_Quiet.asked[name] for name, _ in remote.shards)
    assert asked == [*[1] * (len(asked) - 1), 4]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85"])
def test_names_with_separators_that_are_no_newlines(tmp_path: Path, character: str) -> None:
    root = speakers_folder(tmp_path / "voices", speakers=1, clips=4)
    for clip in range(4):
        write_tone(root / f"s{character}x" / f"clip{character}{clip}.wav", seed=clip)
    config = {"name": "folder", "root": str(root), "stream": True, "streaming": {"workers": 0}, "batch_size": 2}
    config |= {"splits": {"unseen_speakers": 0, "val": 0.3, "test_sentences": 0}, "prepare": {"workers": 0}}
    data = build(config).open(SPEC, needs(), tmp_path / "out")
    assert data.tables.speakers == tuple(sorted(("s0", f"s{character}x")))
    assert {row.speaker for row in data.store.rows} == set(data.tables.speakers)
    assert {int(i) for batch in batches(data, 10) for i in batch.speaker} == {0, 1}


def test_an_address_may_be_a_link(stream: Stream, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(stream.address, target_is_directory=True)
    linked = Stream.open(tmp_path / "link")
    assert linked.address == stream.address
    assert all(equal(a, b) for a, b in zip(batches(module(linked), 3), batches(module(stream), 3), strict=True))


def test_an_address_may_begin_at_home(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(stream.address)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder.parent))
    assert Stream.open(f"~/{folder.name}").address == stream.address
    with pytest.raises(UserError, match="~nobody-of-that-name/x: no folder") as caught:
        Stream.open("~nobody-of-that-name/x")
    assert "\n" not in str(caught.value)


def test_a_damaged_index_is_one_line(copy: Stream) -> None:
    index = Path(copy.address, "index.json")
    text = index.read_text()
    for broken in (
        text[:200],
        "[]",
        "null",
        text.replace('"speakers"', '"x"'),
        text.replace(f'"format": {FORMAT}', '"format": 9'),
    ):
        index.write_text(broken)
        with pytest.raises(UserError) as caught:
            Stream.open(copy.address)
        assert "\n" not in str(caught.value)
    index.write_text(text)
    for name in ("validation.jsonl", f"{Path(copy.shards[0][0]).stem}.jsonl"):
        Path(copy.address, name).write_text('{"id": "x", "y": 1}\n[1, 2')
    with pytest.raises(UserError, match="its validation utterances cannot be read"):
        module(copy)


def test_mistakes_are_one_line(stream: Stream, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no index of a stream there"):
        Stream.open(tmp_path)
    with pytest.raises(
        UserError, match=r"no field 'waveform', it has features, f0, embedding: prepare it with .*waveform"
    ):
        module(stream, requires=needs(fields=("features", "waveform")))
    with pytest.raises(UserError, match="shards cannot be shared by 99 processes: prepare smaller ones"):
        module(stream, batch_size=99, world_size=99).batches()
    config = {"name": "folder", "root": "nowhere", "stream": True, "streaming": {"address": stream.address}}
    with pytest.raises(UserError, match="use different features .*hop: 300 != 256"):
        build(config).open(load_preset("adain_24k"), needs(), tmp_path)
    with pytest.raises(UserError, match="data.streaming.shards=0: expected a whole number from 1"):
        build({**config, "streaming": {"shards": 0}})


def test_mistakes_that_a_reader_meets_are_one_line(copy: Stream) -> None:
    folder = Path(copy.address, copy.fields["features"]["folder"])
    for name, _ in copy.shards:
        (folder / name).write_bytes(b"")
    with pytest.raises(UserError, match="nothing left to train on") as caught:
        batches(module(copy, workers=1), 1)
    assert "Traceback" not in str(caught.value)


def test_readers_leave_signals_to_the_training(stream: Stream) -> None:
    others = set(multiprocessing.active_children())
    loader = iter(module(stream, workers=1).batches())
    next(loader)
    readers = set(multiprocessing.active_children()) - others
    for reader in readers:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            os.kill(reader.pid, number)
    assert all(len(next(loader).id) == 4 for _ in range(20))
    assert len(readers) == 1
    del loader
    for reader in readers:
        reader.join(30)
        assert not reader.is_alive()


@dataclass(frozen=True)
class Slow(Stream):
    """Each of its shards arrives when a file says so."""

    marks: str = ""

    def read(self, shards: Sequence[int], labels: Sequence[str], stand_in: bool = False) -> Columns:
        number = len(list(Path(self.marks).glob("asked-*")))
        # in the reader's process; a busy machine may need a second between two batches, so that it is longer where it
        # does not wait for a shard
        reader_signals.IDLE = 1.0 if number < 2 else 5.0
        Path(self.marks, f"asked-{number}").touch()
        wait_for(Path(self.marks, f"go-{number}"))
        return super().read(shards, labels, stand_in)


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} never came"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_reader_that_waits_for_data_is_not_idle(stream: Stream, tmp_path: Path) -> None:
    others = set(multiprocessing.active_children())
    slow = Slow(**vars(replace(stream, shards=stream.shards[:7])), marks=str(tmp_path))
    loader = iter(module(slow, workers=1, batch_size=1, shards=1).batches())
    found: list[Batch] = []
    training = threading.Thread(target=lambda: found.extend(islice(loader, 8)))
    training.start()  # it waits for its first batch
    wait_for(tmp_path / "asked-0")
    (reader,) = set(multiprocessing.active_children()) - others
    os.kill(reader.pid, signal.SIGTERM)
    for number in range(2):  # a reader waits for its first shard, and for the one behind what it delivered
        reader.join(2)  # longer than it may be idle, and than it takes to see that
        assert reader.is_alive()
        (tmp_path / f"go-{number}").touch()
        wait_for(tmp_path / f"asked-{number + 1}")
    for number in range(2, 99):
        (tmp_path / f"go-{number}").touch()
    training.join(60)
    assert len(found) == 8
    reader.join(30)  # the loader is still there, but nothing more is asked of it
    assert not reader.is_alive()


def test_readers_end_with_the_training(stream: Stream) -> None:
    others = set(multiprocessing.active_children())
    data = module(stream, workers=1)
    loader = iter(data.batches())
    next(loader)
    (reader,) = set(multiprocessing.active_children()) - others
    os.kill(reader.pid, signal.SIGINT)  # Ctrl-C reaches it, too
    assert all(len(next(loader).id) == 4 for _ in range(12))
    began = time.monotonic()
    data.teardown("fit")
    assert not reader.is_alive() and time.monotonic() - began < 0.5 * reader_signals.IDLE
    data.on_exception(RuntimeError())  # once more does nothing


@pytest.mark.slow
def test_a_reader_that_waits_for_a_server_ends_with_the_training(stream: Stream, tmp_path: Path) -> None:
    others = set(multiprocessing.active_children())
    data = module(Slow(**vars(replace(stream, shards=stream.shards[:7])), marks=str(tmp_path)), workers=1, shards=1)
    training = threading.Thread(target=lambda: next(iter(data.batches()), None), daemon=True)
    training.start()
    wait_for(tmp_path / "asked-0")
    (reader,) = set(multiprocessing.active_children()) - others
    data.close()
    reader.join(30)
    assert not reader.is_alive()


def test_no_validation_and_shards_without_training_utterances(tmp_path: Path) -> None:
    root = speakers_folder(tmp_path / "voices", speakers=2, clips=4)
    config = {"name": "folder", "root": str(root), "stream": True, "streaming": {"workers": 0}, "batch_size": 2}
    config |= {"splits": {"unseen_speakers": ["s1"], "val": 0, "test_sentences": 0}}
    setup = build({**config, "prepare": {"workers": 0, "shard_utterances": 1}})
    data = setup.open(SPEC, needs(), tmp_path / "out")
    assert not list(data.val_dataloader()) and data.sample() is None
    assert data.facts.train == 4 and len(data.streams[0].shards) == 4  # those of s1 are not asked for
    heard = {id for batch in batches(data, 20) for id in batch.id}
    assert len(heard) == 4 and all(id.startswith("s0") for id in heard)


def test_what_was_done_to_a_stream_must_be_what_the_checkpoint_will_say(stream: Stream, tmp_path: Path) -> None:
    config = {"name": "folder", "root": "x", "stream": True, "streaming": {"address": stream.address}}
    with pytest.raises(UserError, match=r"was trimmed at None dB.*add data.prepare.trim_db=null"):
        build({**config, "prepare": {"trim_db": 30}}).open(SPEC, needs(), tmp_path)
    with pytest.raises(UserError, match=r"holds f0 with method=dio: set data.prepare.fields.f0.method to that"):
        build({**config, "prepare": {"fields": {"f0": {"method": "harvest"}}}}).open(SPEC, needs(), tmp_path)
    with pytest.raises(UserError, match=r"data.device=cpu is for the in-memory reader"):
        build({**config, "device": "cpu"})
    with pytest.raises(UserError, match=r"not looked at without data.stream=true"):
        build({**config, "stream": False})


def test_an_address_needs_no_corpus(stream: Stream, tmp_path: Path) -> None:
    config = {"name": "folder", "root": "nowhere", "batch_size": 4, "stream": True}
    setup = build({**config, "streaming": {"address": stream.address, "workers": 0}})
    assert setup.training_speakers() == {"s0", "s1", "s2"}
    data = setup.open(SPEC, needs(), tmp_path)
    assert data.recordings() is None and len(next(iter(data.batches())).id) == 4


def test_streams_mix_in_their_shares(prepared: Prepared, stream: Stream, tmp_path: Path) -> None:
    part = {"name": "folder", "root": "nowhere", "streaming": {"address": stream.address}}
    config = {"name": "mixture", "parts": {"a": part, "b": part}, "stream": True, "batch_size": 8}
    config |= {"weights": {"a": 3, "b": 1}, "streaming": {"workers": 0, "shards": 2}}
    setup = build(config)
    assert setup.training_speakers() == {f"{part}-s{i}" for part in "ab" for i in range(3)}
    assert build({**config["parts"]["a"], "stream": True}).speakers() == ["s0", "s1", "s2", "s3"]
    data = setup.open(SPEC, needs(), tmp_path)
    assert data.tables.speakers == tuple(sorted(setup.training_speakers())) and len(data.pitch_levels()) == 6
    found = batches(data, 50)
    drawn = np.concatenate([batch.speaker.numpy() for batch in found])
    assert (drawn < 3).mean() == pytest.approx(0.75, abs=0.01)
    assert all(equal(a, b) for a, b in zip(batches(data, 5, start=33), found[33:38], strict=True))
    assert torch.allclose(data.statistics().mean, stream.statistics.mean, rtol=1e-6)
    assert torch.allclose(data.statistics().std, stream.statistics.std, rtol=1e-4)


def test_corpora_mix_in_memory(tmp_path: Path) -> None:
    for name, speakers, clips in (("a", 2, 8), ("b", 3, 4)):
        speakers_folder(tmp_path / name, speakers=speakers, clips=clips)
    part = {"splits": {"unseen_speakers": 0, "val": 0.2}, "prepare": {"workers": 0}, "name": "folder"}
    config = {"name": "mixture", "batch_size": 64, "weights": "balanced"}
    config["parts"] = {name: {**part, "root": str(tmp_path / name)} for name in "ab"}
    names = {"a-s0", "a-s1", "b-s0", "b-s1", "s2"}
    setup = build(config)
    assert setup.training_speakers() == names
    for sampler in ("uniform", "by_speaker"):
        data = setup.open(SPEC, needs(fields=("features", "f0"), sampler=sampler), tmp_path / "out")
        assert set(data.tables.speakers) == names and len(data.pitch_levels()) == 5
        found = list(islice(iter(data.batches()), 60))
        drawn = np.concatenate([batch.speaker.numpy() for batch in found])
        shares = np.bincount(drawn, minlength=5) / len(drawn)
        assert shares[:2].sum() == pytest.approx(0.5, abs=0.03)
        if sampler == "by_speaker":
            assert shares == pytest.approx([1 / 4, 1 / 4, 1 / 6, 1 / 6, 1 / 6], abs=0.03)
        rows = {row.id: row for row in setup.manifest()}
        for batch in found[:3]:
            for row, id in enumerate(batch.id):
                assert rows[id].split == "train" and rows[id].speaker == data.tables.speakers[batch.speaker[row]]
                other = build(config["parts"][id[0]]).prepare(SPEC, ("features",), tmp_path / "out", progress=False)
                assert other.manifest.file(rows[id]).is_file()
        assert sum(len(batch) for batch in data.val_dataloader()) == data.facts.validation > 0
        first = data.store.utterance("features", 0)
        assert torch.equal(data.store.crops("features", np.array([0]), np.array([0]), first.shape[1])[0], first)
    mixed = setup.prepare(SPEC, ("features",), tmp_path / "out", progress=False)
    assert mixed.shares == (0.5, 0.5) and len(mixed.manifest) == 28
    by_size = build({**config, "weights": None}).prepare(SPEC, ("features",), tmp_path / "out", progress=False)
    counts = [len(part.manifest.select("train")) for part in by_size.parts.values()]
    assert by_size.shares == pytest.approx([counts[0] / sum(counts), counts[1] / sum(counts)])


def test_streams_and_memory_name_voices_alike(tmp_path: Path) -> None:
    """A voice that one corpus trains on and the other does not is told apart by both readers."""
    for name in "ab":
        speakers_folder(tmp_path / name, speakers=2, clips=4)
    part = {"name": "folder", "prepare": {"workers": 0}, "splits": {"unseen_speakers": ["s1"]}}
    config = {"name": "mixture", "batch_size": 2, "streaming": {"workers": 0}}
    config["parts"] = {name: {**part, "root": str(tmp_path / name)} for name in "ab"}
    config["parts"]["b"]["splits"] = {"unseen_speakers": ["s0"]}
    tables = []
    for stream in (False, True):
        setup = build({**config, "stream": stream})
        tables.append(setup.open(SPEC, needs(fields=("features",)), tmp_path / "out").tables)
        assert set(tables[-1].speakers) == setup.training_speakers() == {"a-s0", "b-s1"}
    assert tables[0] == tables[1]
    addresses = [
        build({**p, "stream": True}).streams(SPEC, ("features",), tmp_path / "out")[0] for p in config["parts"].values()
    ]
    for p, found in zip(config["parts"].values(), addresses, strict=True):
        p["streaming"] = {"address": found.address}
    remote = build({**config, "stream": True})
    assert remote.training_speakers() == {"a-s0", "b-s1"}
    assert remote.open(SPEC, needs(fields=("features",)), tmp_path / "out").tables == tables[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": {"a": 1, "c": 1}}, r"unknown part \(data.weights\) 'c'"),
        ({"weights": {"a": 1}}, "data.weights.b is missing: expected a number above 0"),
        (
            {"weights": "equal"},
            "data.weights=equal: expected balanced, or settings by name, each a number above 0, or null",
        ),
        ({"parts": {"a": {"name": "folder", "root": "x"}}}, "fewer than two parts"),
        ({"streaming": {"address": "x"}}, "data.parts.NAME.streaming.address"),
    ],
)
def test_mistakes_in_a_mixture_are_one_line(change: dict, message: str) -> None:
    part = {"name": "folder", "root": "x"}
    with pytest.raises(UserError, match=message) as caught:
        build({"name": "mixture", "parts": {"a": part, "b": part}, **change})
    assert "\n" not in str(caught.value)
