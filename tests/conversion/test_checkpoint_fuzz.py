"""200 mutated checkpoints: each is a correct model or one line, and never half of an export."""

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revoice.checkpoint.description import CHECKSUM
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.save import save
from revoice.cli.export import task as export
from revoice.errors import UserError
from tests.conversion.untrusted_helpers import require_one_line, small, zip_with

FUZZ = {
    "derandomize": True, "database": None, "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}  # fmt: skip
HANGS = pytest.mark.timeout(100)  # the watchdog: all examples of a test together take some seconds
PLACES = st.floats(0, 1, exclude_max=True)  # of the file, so that a mutation means the same at every length
SIZES = st.sampled_from([1, 2, 7, 64, 1000, 20_000])
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
        st.tuples(st.just("cut"), PLACES, st.just(0)),
        st.tuples(st.just("zero"), PLACES, SIZES),
        st.tuples(st.just("splice"), PLACES, st.tuples(PLACES, SIZES)),
        st.tuples(st.just("insert"), PLACES, st.tuples(PLACES, SIZES)),
        st.tuples(st.just("drop"), PLACES, SIZES),
    ),
    min_size=1,
    max_size=3,
)
STRANGE = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20),
    st.lists(st.integers(-9, 9), max_size=5), st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.sampled_from([0, -1, 10**6, 10**12, "os.system", "\x1b[2J", [], {}, [[[]]]]),
)  # fmt: skip


def mutated(data: bytes, edits: list[tuple[str, float, Any]]) -> bytes:
    """The bytes after every edit, each at its share of the length."""
    for kind, share, how in edits:
        place = int(share * len(data))
        if kind == "flip":
            data = data[:place] + bytes([b ^ (1 << how) for b in data[place : place + 1]]) + data[place + 1 :]
        elif kind == "cut":
            data = data[:place]
        elif kind == "zero":
            data = data[:place] + bytes(min(how, len(data) - place)) + data[place + how :]
        elif kind == "drop":
            data = data[:place] + data[place + how :]
        else:
            start, size = int(how[0] * len(data)), how[1]
            piece = data[start : start + size]
            data = data[:place] + piece + data[place + (len(piece) if kind == "splice" else 0) :]
    return data


def outcome(file: Path, exact: bool) -> None:
    """Export a file: a model as it was (or, with right checksums, a whole one), or one line and nothing written."""
    out = file.parent / "out" / "m.safetensors"
    try:
        export({"ckpt": str(file), "out": str(out)}, file.parent)
    except UserError as error:
        require_one_line(error, file)
        assert not out.parent.exists() or not list(out.parent.iterdir())
        return
    given, written = load_checkpoint(file), load_checkpoint(out)
    honest = small()[0].state_dict()
    for name, value in given.model.state_dict().items():
        assert torch.equal(value, written.model.state_dict()[name]) and bool(torch.isfinite(value).all())
        assert not exact or torch.equal(value, honest[name])
    for path in out.parent.iterdir():
        path.unlink()


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("honest")
    for suffix in (".ckpt", ".safetensors"):
        save(*small(), folder / f"m{suffix}")
    return {suffix: folder / f"m{suffix}" for suffix in (".ckpt", ".safetensors")}


@HANGS
@given(edits=EDITS)
@settings(max_examples=70, **FUZZ)
def test_damaged_archives(edits: list[tuple[str, float, Any]], honest: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "m.ckpt"
    file.write_bytes(mutated(honest[".ckpt"].read_bytes(), edits))
    outcome(file, exact=True)


@HANGS
@given(edits=EDITS, near=st.booleans())
@settings(max_examples=50, **FUZZ)
def test_damaged_safetensors(
    edits: list[tuple[str, float, Any]], near: bool, honest: dict[str, Path], tmp_path: Path
) -> None:
    data, file = honest[".safetensors"].read_bytes(), tmp_path / "m.safetensors"
    begins = 8 + struct.unpack("<Q", data[:8])[0]
    file.write_bytes(mutated(data[:begins], edits) + data[begins:] if near else mutated(data, edits))
    outcome(file, exact=True)


@HANGS
@given(edits=EDITS)
@settings(max_examples=40, **FUZZ)
def test_damaged_programs_with_right_checksums(
    edits: list[tuple[str, float, Any]], honest: dict[str, Path], tmp_path: Path
) -> None:
    with zipfile.ZipFile(honest[".ckpt"]) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        program = mutated(archive.read(name), edits)
    zip_with(tmp_path / "m.ckpt", {"data.pkl": program}, honest[".ckpt"])
    outcome(tmp_path / "m.ckpt", exact=False)


@HANGS
@given(place=PLACES, value=STRANGE, tensor=st.booleans())
@settings(max_examples=40, **FUZZ)
def test_headers_that_say_anything(
    place: float, value: Any, tensor: bool, honest: dict[str, Path], tmp_path: Path
) -> None:
    data, file = honest[".safetensors"].read_bytes(), tmp_path / "m.safetensors"
    begins = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:begins])
    about = json.loads(header["__metadata__"]["revoice"])
    del about[CHECKSUM]
    slots = _slots({k: v for k, v in header.items() if k != "__metadata__"} if tensor else about)
    holder, key = slots[int(place * len(slots))]
    holder[key] = value
    header["__metadata__"]["revoice"] = json.dumps(about)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[begins:])
    outcome(file, exact=False)


def _slots(values: Any) -> list[tuple[Any, Any]]:
    """Every place in nested dicts and lists that holds something."""
    places = list(values.items()) if isinstance(values, dict) else list(enumerate(values))
    inner = [slot for _, value in places if isinstance(value, dict | list) for slot in _slots(value)]
    return [(values, key) for key, _ in places] + inner
