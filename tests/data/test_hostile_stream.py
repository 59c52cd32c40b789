"""Streams from strangers: an index, lines and shards that say what no preparation writes."""

import io
import json
import math
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import speakers_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revoice.audio.presets import load_preset
from revoice.data.corpora.folder import Folder
from revoice.data.corpora.splits import Splits
from revoice.data.prepare.preparation import Preparation, prepare
from revoice.data.prepare.shards import read_shard
from revoice.data.read.batch import Requires
from revoice.data.read.stream.index import Stream
from revoice.data.read.stream.module import StreamDataModule
from revoice.data.read.stream.writer import write_stream
from revoice.errors import UserError

pytestmark = pytest.mark.timeout(120)
LABELS = ("features", "f0")
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stream's index, beside those of its fields."""
    root = speakers_folder(tmp_path_factory.mktemp("corpus"), speakers=2, clips=6)
    how = Preparation(shard_utterances=4, workers=0)
    out, splits = tmp_path_factory.mktemp("prepared"), Splits(unseen_speakers=0)
    return write_stream(prepare(Folder(root), load_preset("mel_22k"), LABELS, out, splits, how, progress=False))


@pytest.fixture
def index(original: Path, tmp_path: Path) -> Path:
    """`index.json` of a copy."""
    shutil.copytree(original.parent, tmp_path / "copy")
    return tmp_path / "copy" / original.name / "index.json"


def take_in(folder: Path) -> None:
    """Open a stream and read all of it, as training does."""
    stream = Stream.open(folder)
    needs = Requires(fields=LABELS, frames=16, minimum=4)
    stream.check(LABELS)
    stream.validation(LABELS)
    stream.read(range(len(stream.shards)), LABELS)
    assert StreamDataModule([stream], needs, batch_size=2, workers=0).statistics() is not None


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        take_in(folder)
    assert str(error.value).isprintable()
    return str(error.value)


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "count of -1": lambda v: v["shards"][0].__setitem__(1, -1),
    "counts of -1": lambda v: v.update(shards=[[name, -1] for name, _ in v["shards"]]),
    "count of words": lambda v: v["shards"][0].__setitem__(1, "4"),
    "count of half": lambda v: v["shards"][0].__setitem__(1, 1.5),
    "count of truth": lambda v: v["shards"][0].__setitem__(1, True),
    "count without end": lambda v: v["shards"][0].__setitem__(1, 10**30),
    "shard elsewhere": lambda v: v["shards"][0].__setitem__(0, "../../../etc/passwd"),
    "shard without name": lambda v: v["shards"][0].__setitem__(0, None),
    "shards are words": lambda v: v.update(shards="shards"),
    "speakers of null": lambda v: v["speakers"].__setitem__(0, None),
    "speakers of numbers": lambda v: v.update(speakers=[1, 2]),
    "speakers twice": lambda v: v.update(speakers=["s0", "s0"]),
    "speakers are a word": lambda v: v.update(speakers="s0"),
    "everyone is null": lambda v: v.update(everyone=None),
    "a speaker without a name": lambda v: v.update(speakers=["", "s1"]),
    "emotions of numbers": lambda v: v.update(emotions=[1]),
    "fewer speakers": lambda v: v.update(speakers=["s0"], levels=v["levels"][:1]),
    "levels of nan": lambda v: v.update(levels=[math.nan, 5.0]),
    "levels of words": lambda v: v.update(levels=["a", "b"]),
    "levels too many": lambda v: v.update(levels=[5.0] * 3),
    "deviations too many": lambda v: v.update(deviations=[0.2] * 3),
    "deviations below 0": lambda v: v.update(deviations=[0.2, -0.1]),
    "mean too short": lambda v: v["statistics"].update(mean=v["statistics"]["mean"][:-1]),
    "std too long": lambda v: v["statistics"].update(std=[1.0] * 500),
    "std of nought": lambda v: v["statistics"].update(std=[0.0] * len(v["statistics"]["std"])),
    "std below nought": lambda v: v["statistics"]["std"].__setitem__(3, -1.0),
    "std of nan": lambda v: v["statistics"]["std"].__setitem__(3, math.nan),
    "mean of infinity": lambda v: v["statistics"]["mean"].__setitem__(3, math.inf),
    "mean of words": lambda v: v["statistics"].update(mean=["a"] * 80),
    "mean in mean": lambda v: v["statistics"].update(mean=[v["statistics"]["mean"]]),
    "trim of words": lambda v: v.update(trim_db="15"),
    "facts of words": lambda v: v["facts"].update(train="many"),
    "facts below nought": lambda v: v["facts"].update(train=-1),
    "facts of nan": lambda v: v["facts"].update(hours=math.nan),
    "facts of nobody": lambda v: v.update(facts=None),
    "fields are a list": lambda v: v.update(fields=["features"]),
    "a field is null": lambda v: v["fields"].update(f0=None),
    "folder is a number": lambda v: v["fields"]["f0"].update(folder=3),
    "folder elsewhere": lambda v: v["fields"]["f0"].update(folder="/nowhere"),
    "folder on another host": lambda v: v["fields"]["f0"].update(folder="../../../evil/x"),
    "folder of codes": lambda v: v["fields"]["f0"].update(folder="../%2e%2e%2fx"),
    "folder of dots": lambda v: v["fields"]["f0"].update(folder="../.."),
    "type of texts": lambda v: v["fields"]["f0"].update(dtype="<U9"),
    "type of objects": lambda v: v["fields"]["f0"].update(dtype="O"),
    "type of nothing": lambda v: v["fields"]["f0"].update(dtype="bogus"),
    "another type": lambda v: v["fields"]["f0"].update(dtype="int64"),
    "no frames": lambda v: v["fields"]["f0"].update(per_frame=0),
    "frames backwards": lambda v: v["fields"]["f0"].update(per_frame=-1),
    "frames of nan": lambda v: v["fields"]["f0"].update(per_frame=math.nan),
    "padding of words": lambda v: v["fields"]["f0"].update(padding="x"),
    "scale of words": lambda v: v["fields"]["f0"].update(scale="x"),
    "spec is null": lambda v: v.update(spec=None),
    "spec of a number": lambda v: v["spec"].update(mels="many"),
    "format of a list": lambda v: v.update(format=[]),
}  # fmt: skip


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_an_index_that_no_preparation_writes_is_refused(change: str, index: Path) -> None:
    values = json.loads(index.read_text())
    CHANGES[change](values)
    index.write_text(json.dumps(values))
    assert index.parent.name in refused(index.parent)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("no frames", "fields.f0.per_frame=0: expected a number above 0, or null"),
        (
            "folder on another host",
            "fields.f0.folder=../../../evil/x: expected ../NAME, a folder beside that of the index",
        ),
        ("type of texts", "fields.f0.dtype=<U9: expected a type of numbers, e.g. float16"),
        ("speakers of numbers", "speakers=[1,2]: expected a list of names, each once"),
        ("facts below nought", "facts.train=-1: expected a whole number from 0"),
        ("levels too many", "3 levels of 2 speakers"),
    ],
)
def test_what_is_wrong_in_an_index_is_named(change: str, told: str, index: Path) -> None:
    values = json.loads(index.read_text())
    CHANGES[change](values)
    index.write_text(json.dumps(values))
    message = refused(index.parent)
    assert told in message and message.endswith("expected the folder stream-... that prepare.py data.stream=true names")


@pytest.mark.parametrize("text", [DEEP, "", "null", "[]", "3", '"index"', "{", '{"format": 2}', "9" * 10_000, "\x00"])
def test_an_index_that_is_none_is_refused(text: str, index: Path) -> None:
    index.write_text(text)
    refused(index.parent)


def test_an_index_that_is_a_pipe_is_not_waited_for(index: Path) -> None:
    index.unlink()
    os.mkfifo(index)
    assert "not a regular file" in refused(index.parent)


@pytest.mark.parametrize(
    "line",
    [DEEP, "null", "3", '["a", -1, 0, -1]', '["a", 99, 0, -1]', '["a", 0.0, 0, -1]', '["a", 0, -2, -1]', '["a", "s0"]',
     '[["a"], 0, 0, -1]', "{}"],
)  # fmt: skip
def test_lines_of_a_shard_that_no_preparation_writes_leave_it_out(
    line: str, index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = sorted(index.parent.glob("shard-*.jsonl"))[0]
    count = len(lines.read_text().splitlines())
    lines.write_text((line + "\n") * count)
    take_in(index.parent)
    assert caplog.text.count("left out") == 1


@pytest.mark.parametrize(
    "line",
    [DEEP, "null", "[]", '{"id": "x", "path": "", "speaker": 3, "split": "val"}', '{"id": 3}',
     '{"id": "x", "path": "", "speaker": null, "split": "val"}', '{"id": "x", "path": "", "speaker": ["a"]}'],
)  # fmt: skip
def test_validation_lines_that_no_preparation_writes_are_refused(line: str, index: Path) -> None:
    (index.parent / "validation.jsonl").write_text(line + "\n")
    assert "validation" in refused(index.parent)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0))
    return file.getvalue()


def head(shape: str, kind: str = "<f2", rest: bytes = bytes(320)) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + rest


MEMBERS: dict[str, bytes] = {
    "no shape": head("()"), "no rows": head("(0, 80)"), "texts": head("(2,)", "<U9"), "objects": head("(2,)", "|O"),
    "dates": head("(2,)", "<M8[s]"), "structs": head("(2,)", "[('a', '<f4')]"), "many rows": head("(10000000000, 80)"),
    "rows of rows": head("(10**12, 80)"), "rows backwards": head("(-1, 80)"), "nothing": b"", "pickle": b"\x80\x04N.",
    "one column less": npy(np.zeros((9, 79), np.float16)), "another type": npy(np.zeros((9, 80), np.float64)),
    "truths": npy(np.zeros((9, 80), bool)), "flat": npy(np.zeros(80, np.float16)), "zeros": bytes(1000),
    "deep": npy(np.zeros((3, 80, 2), np.float16)), "deep header": head("(" * 5_000 + ")" * 5_000),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(MEMBERS))
def test_a_member_that_no_preparation_writes_leaves_the_shard_out(
    kind: str, index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name, shard = first_shard(index)
    replace_first(shard, MEMBERS[kind])
    forget_checksums(index.parent / f"{name}.jsonl")
    take_in(index.parent)
    assert caplog.text.count("left out") == 1


def first_shard(index: Path) -> tuple[str, Path]:
    values = json.loads(index.read_text())
    name = values["shards"][0][0]
    return name.removesuffix(".tar"), index.parent / values["fields"]["features"]["folder"] / name


def replace_first(shard: Path, content: bytes, change: Callable[[tarfile.TarInfo], None] = lambda info: None) -> None:
    """The first member of a shard with other content, or with another head."""
    with tarfile.open(shard) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    with tarfile.open(shard, "w") as tar:
        for number, (member, data) in enumerate(members):
            data = data if number else content
            member.size = len(data)
            if not number:
                change(member)
            tar.addfile(member, io.BytesIO(data))


def forget_checksums(lines: Path) -> None:
    """As if an earlier version had written the lines."""
    rows = [json.loads(line)[:4] for line in lines.read_text().splitlines()]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))


def sparse(name: str, real: int) -> bytes:
    """A tar whose member has one block and claims `real` bytes (GNU's old form)."""
    info = tarfile.TarInfo(name)
    info.size = 512
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[156:157] = b"S"
    for place, number in ((386, 0), (398, 512), (410, real), (422, 0), (483, real)):
        block[place : place + 12] = (
            f"{number:011o}\0".encode() if number < 8**11 else b"\x80" + number.to_bytes(11, "big")
        )
    block[482:483] = b"\0"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block) + bytes(512) + bytes(1024)


def pax_sparse(name: str, real: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.pax_headers = {"GNU.sparse.size": str(real), "GNU.sparse.map": "0,1", "GNU.sparse.realsize": str(real)}
        info.size = 1
        tar.addfile(info, io.BytesIO(b"a"))
    return file.getvalue()


def claims(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)


@pytest.mark.parametrize("make", [sparse, pax_sparse, claims])
@pytest.mark.parametrize("source", ["bytes", "file"])
def test_a_member_that_claims_forty_gigabytes_costs_nothing(
    make: Callable[[str, int], bytes], source: str, tmp_path: Path
) -> None:
    import resource

    data = make("a.features.npy", 40 << 30)
    (tmp_path / "shard.tar").write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((ValueError, tarfile.TarError, EOFError)):
        list(read_shard(data if source == "bytes" else tmp_path / "shard.tar"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_no_file_is_damage(kind: bytes, tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo("a.features.npy")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(ValueError, match="is no file"):
        list(read_shard(file.getvalue()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_index_with_any_value_changed_ends_in_one_line_or_is_read(data: st.DataObject, index: Path) -> None:
    """Whatever stands in the place of whatever value: `UserError`, or a stream that can be read."""
    values = json.loads(index.read_text())
    paths = list(_paths(values))
    path = data.draw(st.sampled_from(paths))
    wrong = data.draw(st.sampled_from([None, -1, 0, 1e300, math.nan, "x", "", [], {}, [[]], True, {"a": 1}, "../x"]))
    holder = values
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = wrong
    other = index.with_name("other")
    other.mkdir(exist_ok=True)
    for file in index.parent.glob("*.jsonl"):
        shutil.copy(file, other)
    for place in index.parent.glob("validation-*"):
        shutil.copytree(place, other / place.name, dirs_exist_ok=True)
    shutil.rmtree(index.parent.parent / "other-stream", ignore_errors=True)
    shutil.move(other, index.parent.parent / "other-stream")
    (index.parent.parent / "other-stream" / "index.json").write_text(json.dumps(values))
    try:
        take_in(index.parent.parent / "other-stream")
    except UserError as error:
        assert str(error).isprintable()


def _paths(value: Any, path: tuple = ()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


def test_a_checksum_still_tells_damage(index: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, shard = first_shard(index)
    content = bytearray(shard.read_bytes())
    content[900] ^= 1
    shard.write_bytes(content)
    assert zlib.crc32(bytes(content))
    take_in(index.parent)
    assert "CRC-32 differs" in caplog.text
