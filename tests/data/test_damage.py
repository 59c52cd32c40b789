"""Files that changed after they were written: made again, told in one line, or left out of a stream with a warning."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import speakers_folder
from test_prepare import tree

from revoice.audio.presets import load_preset
from revoice.data.corpora.folder import Folder
from revoice.data.corpora.splits import Splits
from revoice.data.prepare.places import PLACES
from revoice.data.prepare.preparation import Preparation, Prepared, prepare
from revoice.data.prepare.shards import ShardWriter, crcs_of, lines_path, read_shard, shard_lines, shard_path
from revoice.data.read.mapped import MappedField
from revoice.data.read.store import MemoryStore
from revoice.data.read.stream.index import Stream
from revoice.data.read.stream.writer import write_stream
from revoice.errors import UserError

SPEC = load_preset("mel_22k")
FIELDS = ("features", "f0")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speakers_folder(tmp_path_factory.mktemp("corpus"), speakers=3, clips=4)


def run(corpus: Path, out: Path) -> Prepared:
    splits, how = Splits(unseen_speakers=0, test_sentences=0, val=0.25), Preparation(workers=0, shard_utterances=5)
    return prepare(Folder(corpus), SPEC, FIELDS, out, splits, how, progress=False)


@pytest.fixture
def prepared(corpus: Path, tmp_path: Path) -> Prepared:
    return run(corpus, tmp_path / "out")


def flip(path: Path, place: int, bit: int = 0) -> None:
    """One bit of a file, as it happens on a disk."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


@contextmanager
def one_line(words: str) -> Iterator[None]:
    with pytest.raises(UserError, match=words) as caught:
        yield
    assert "\n" not in str(caught.value)


def payload(shard: Path) -> int:
    """A place within the numbers of the first member."""
    return 512 + 128 + 10


def second_header(shard: Path) -> int:
    size = int(shard.read_bytes()[124:135], 8)
    return 512 + -(-size // 512) * 512 + 20


def test_every_flipped_bit_of_a_shard_is_told_or_does_no_harm(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, 0, "features")
    arrays = {name: np.full((3, 2), number, np.float16) for number, name in enumerate("abc")}
    for id, array in arrays.items():
        writer.add(id, array, 1.0, 0.0)
    writer.close()
    shard = shard_path(tmp_path, 0)
    crcs, whole = crcs_of(shard_lines(tmp_path, 0)), shard.read_bytes()
    told = 0
    for place in range(3 * (512 + 512) + 512):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        try:
            found = dict(read_shard(bytes(broken), crcs))
        except Exception:
            told += 1
        else:
            assert list(found) == list(arrays) and all(np.array_equal(found[id], arrays[id]) for id in arrays)
    assert told > 3 * (128 + 12 + 300)


@pytest.mark.parametrize("where", [payload, second_header, lambda shard: 100])
def test_a_flipped_bit_is_told_and_the_advice_mends_it(
    where: Callable[[Path], int], corpus: Path, prepared: Prepared, tmp_path: Path
) -> None:
    out, folder = tmp_path / "out", prepared.folders["features"]
    whole = tree(folder)
    shard = folder / "shard-000001.tar"
    flip(shard, where(shard))
    with one_line(f"{shard} is damaged .*: delete it and index.json beside it, then prepare again"):
        MemoryStore(run(corpus, out))
    with one_line(f"{shard} is damaged"):
        write_stream(run(corpus, out))
    assert not list(out.rglob("stream-*/index.json")) and not list(out.rglob("*.part"))
    shard.unlink()
    (folder / "index.json").unlink()
    again = run(corpus, out)
    assert tree(folder) == whole
    MemoryStore(again)
    write_stream(again)


def test_shards_of_an_earlier_version_are_read(corpus: Path, prepared: Prepared, tmp_path: Path) -> None:
    expected = MemoryStore(prepared).utterance("features", 0)
    for folder in prepared.folders.values():
        (folder / PLACES).unlink()
        index = json.loads((folder / "index.json").read_text())
        for path in [*folder.glob("shard-*.jsonl"), folder / "utterances.jsonl"]:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            path.write_text("".join(json.dumps({k: v for k, v in x.items() if k != "crc32"}) + "\n" for x in lines))
            index["bytes"][path.name] = path.stat().st_size
        (folder / "index.json").write_text(json.dumps(index))
    assert torch.equal(MemoryStore(run(corpus, tmp_path / "out")).utterance("features", 0), expected)
    stream = Stream.open(write_stream(prepared))
    assert len(stream.read(range(len(stream.shards)), FIELDS)) == stream.facts.train
    folder = prepared.folders["features"]
    flip(folder / "shard-000001.tar", second_header(folder / "shard-000001.tar"))
    with one_line("is damaged .4 utterances are missing"):  # counted, though not compared
        MemoryStore(prepared)


@pytest.mark.parametrize("name", ["utterances.jsonl", "rejected.jsonl"])
@pytest.mark.parametrize("text", ["{", "[1]", "{}", '{"id": "x", "seconds": 1, "path": "", "reason": ""}'])
def test_lines_that_cannot_be_read_are_told(
    name: str, text: str, corpus: Path, prepared: Prepared, tmp_path: Path
) -> None:
    whole = tree(tmp_path / "out")
    path, index = prepared.folders["f0"] / name, prepared.folders["f0"] / "index.json"
    path.write_text(text.ljust(path.stat().st_size))
    about = json.loads(index.read_text())
    about["bytes"][name] = path.stat().st_size
    index.write_text(json.dumps(about))
    with one_line("utterances.jsonl or rejected.jsonl is damaged .*: delete index.json there and prepare again"):
        run(corpus, tmp_path / "out")
    index.unlink()
    run(corpus, tmp_path / "out")
    assert tree(tmp_path / "out") == whole


def test_an_index_without_its_entries_is_told(corpus: Path, prepared: Prepared, tmp_path: Path) -> None:
    index = prepared.folders["features"] / "index.json"
    index.write_text(index.read_text().replace('"shards"', '"shardz"'))
    for use in (MemoryStore, write_stream):
        with one_line(f"{index} is damaged: delete it and prepare again"):
            use(run(corpus, tmp_path / "out"))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"mean": []}', '{"mean": [1.0], "std": [1.0]}'])
def test_statistics_that_cannot_be_read_are_made_again(text: str, prepared: Prepared) -> None:
    expected = MemoryStore(prepared).statistics()
    path = next(prepared.folders["features"].glob("statistics-*.json"))
    whole = path.read_text()
    path.write_text(text)
    found = MemoryStore(prepared).statistics()
    assert torch.equal(found.mean, expected.mean) and torch.equal(found.std, expected.std)
    assert path.read_text() == whole


def test_places_that_changed_are_found_again(prepared: Prepared) -> None:
    folder = prepared.folders["features"]
    expected = MappedField(folder).column.array()
    path = folder / PLACES
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        flip(path, place, place % 8)
        assert torch.equal(MappedField(folder).column.array(), expected)
        assert path.read_bytes() == whole
    for text in (
        b"",
        b"{",
        b"null",
        b"[1]",
        b"{}",
        whole[:-9],
        whole * 2,
        whole.replace(b'"number": 5', b'"number": 0'),
    ):
        path.write_bytes(text)
        assert torch.equal(MappedField(folder).column.array(), expected)


@pytest.mark.parametrize(
    "name",
    [
        "index.json",
        "validation.jsonl",
        "shard-000001.jsonl",
        *(f"validation-f0/shard-000000.{x}" for x in ("tar", "jsonl")),
    ],
)
@pytest.mark.parametrize("left", [0.0, 0.5, None])
def test_a_stream_that_lost_bytes_is_written_again(
    name: str, left: float | None, prepared: Prepared, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_stream(prepared)
    whole = tree(folder)
    parts = [folder / "validation-features" / "shard-000000.tar.0.part", folder / ".index.json.0.part"]
    for part in parts:  # of a writer that was killed
        part.write_bytes(b"half")
    if left is None:
        (folder / name).unlink()
    else:
        os.truncate(folder / name, int(left * (folder / name).stat().st_size))
    assert write_stream(prepared) == folder and tree(folder) == whole
    assert name == "index.json" or (name in caplog.text and "written again" in caplog.text)
    stamp = (folder / "index.json").stat().st_mtime_ns
    write_stream(prepared)
    assert (folder / "index.json").stat().st_mtime_ns == stamp


def test_a_stream_leaves_a_shard_with_a_flipped_bit_out(prepared: Prepared, caplog: pytest.LogCaptureFixture) -> None:
    stream = Stream.open(write_stream(prepared))
    everything = range(len(stream.shards))
    assert not caplog.text and len(stream.read(everything, FIELDS)) == stream.counts.sum()
    folder, (name, count) = prepared.folders["f0"], stream.shards[1]
    training = json.loads(Path(stream.address, f"{Path(name).stem}.jsonl").read_text().splitlines()[0])[0]
    data = (folder / name).read_bytes()
    flip(folder / name, data.index(f"{training}.f0".encode()) + 512 + 140)
    assert len(stream.read(everything, FIELDS)) == stream.counts.sum() - count
    assert f"{folder.name}/{name}: {training}.f0.npy is not what was written" in caplog.text
    assert "left out; delete it, then prepare or copy it again" in caplog.text
    assert len(stream.read(everything, ["features"])) == stream.counts.sum()


@pytest.mark.parametrize("where", [payload, second_header])
def test_a_stream_tells_of_a_flipped_bit_in_its_validation(where: Callable[[Path], int], prepared: Prepared) -> None:
    stream = Stream.open(write_stream(prepared))
    shard = shard_path(Path(stream.address, "validation-f0"), 0)
    assert lines_path(shard).exists() and len(stream.validation(FIELDS)) > 1
    flip(shard, where(shard))
    with one_line("its validation utterances cannot be read .validation-f0/.*; delete that folder and write it again"):
        stream.validation(FIELDS)
