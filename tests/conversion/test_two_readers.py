"""Files in which two readers find different things: what is loaded is what was judged."""

import io
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.save import save
from revoice.errors import UserError
from revoice.interop.adain_vc import read_statistics
from revoice.untrusted import read_yaml, refused
from tests.conversion.untrusted_helpers import Call, command, refusal, small, torch_zip, zip_with

_END = struct.Struct("<4s4H2LH")  # the end record of a zip archive
_ENTRY = struct.Struct("<4s6H3L5H2L")  # an entry of its directory; the last number is the offset of the member


def two_archives(file: Path, seen_by_python: bytes, seen_by_torch: bytes) -> None:
    """An archive whose end record gives the directory of one, and stands behind the directory of the other.

    torch goes where the record says; Python's zipfile takes the difference for something put in front of the archive.
    """
    one, other = parts(seen_by_python), parts(seen_by_torch)
    size = max(len(one[1]), len(other[1]))
    hidden = other[0] + padded(other[1], size)
    moved = shifted(padded(one[1], size), len(other[0]) - len(one[0]))
    end = _END.pack(b"PK\5\6", 0, 0, one[2], other[2], size, len(other[0]), 0)
    assert one[2] == other[2] and len(other[0]) >= len(one[0])
    file.write_bytes(hidden + one[0] + moved + end)


def parts(archive: bytes) -> tuple[bytes, bytes, int]:
    """Members, directory, and their number."""
    *_, count, size, offset, _comment = _END.unpack(archive[-_END.size :])
    return archive[:offset], archive[offset : offset + size], count


def padded(directory: bytes, size: int) -> bytes:
    """The directory as long as wanted, by a comment of its last entry."""
    entries = list(_entries(directory))
    last = entries[-1]
    fields = list(_ENTRY.unpack(directory[last : last + _ENTRY.size]))
    fields[12] += size - len(directory)  # length of the comment
    return directory[:last] + _ENTRY.pack(*fields) + directory[last + _ENTRY.size :] + bytes(size - len(directory))


def shifted(directory: bytes, by: int) -> bytes:
    """The directory with all members `by` bytes further on."""
    found = bytearray(directory)
    for place in _entries(directory):
        fields = list(_ENTRY.unpack(found[place : place + _ENTRY.size]))
        fields[16] += by
        found[place : place + _ENTRY.size] = _ENTRY.pack(*fields)
    return bytes(found)


def _entries(directory: bytes):
    place = 0
    while place < len(directory):
        yield place
        fields = _ENTRY.unpack(directory[place : place + _ENTRY.size])
        place += _ENTRY.size + fields[10] + fields[11] + fields[12]


def plain_zip(file: Path, changed: dict[str, bytes]) -> bytes:
    """The bytes of a checkpoint as Python's zipfile would write it."""
    out = file.with_suffix(".zip")
    zip_with(out, changed, file)
    return out.read_bytes()


def test_an_archive_with_two_directories_loads_what_was_judged(tmp_path: Path) -> None:
    marker, honest, hostile = tmp_path / "marker", tmp_path / "honest.ckpt", tmp_path / "hostile.ckpt"
    model, about = small("adain_vc")
    save(model, about, honest)
    torch_zip(hostile, Call(Path.touch, marker))
    file = tmp_path / "two.ckpt"
    bulk = {"data/900": bytes(honest.stat().st_size)}
    two_archives(file, plain_zip(honest, {"data/900": b"0"}), plain_zip(hostile, bulk))
    with zipfile.ZipFile(file) as seen:
        assert seen.read(seen.namelist()[-1]) == b"0" and seen.testzip() is None
    loaded = load_checkpoint(file)
    assert all(torch.equal(value, loaded.model.state_dict()[name]) for name, value in model.state_dict().items())
    assert not marker.exists()
    torch.load(file, weights_only=False)
    assert marker.exists(), "torch must follow the other directory, or this test shows nothing"


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_weights_that_were_saved_wrapped_are_read(prefix: str, tmp_path: Path) -> None:
    model, about = small("adain_vc")
    save(model, about, tmp_path / "m.ckpt")
    content = torch.load(tmp_path / "m.ckpt", weights_only=True)
    named = content["state_dict"]
    content["state_dict"] = {prefix + name: value for name, value in named.items()}
    if prefix == "_orig_mod.":
        content["state_dict"] = {f"model._orig_mod.{n.removeprefix('model.')}": value for n, value in named.items()}
    torch.save(content, tmp_path / "wrapped.ckpt")
    loaded = load_checkpoint(tmp_path / "wrapped.ckpt")
    assert all(torch.equal(value, loaded.model.state_dict()[name]) for name, value in model.state_dict().items())
    content["state_dict"].update(named)
    torch.save(content, tmp_path / "twice.ckpt")
    assert "twice" in refusal(tmp_path / "twice.ckpt", lambda: load_checkpoint(tmp_path / "twice.ckpt"))


def _merges(levels: int = 9, each: int = 20) -> str:
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: 1" for n in range(10)) + "}"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} {{<<: [" + ", ".join([f"*a{level - 1}"] * each) + "]}")
    return "\n".join(lines)


BOMBS = {
    "merges": _merges(),
    "laughs": "a: &a [lol]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "list lines": "- a\n" * 1_000_000,
    "short list": "- a\n" * 16_000,
    "brackets": "[" * 60_000,
    "mappings": "{a: " * 15_000,
    "dashes": "- " * 30_000,
    "questions": "? " * 30_000,
    "digits": "a: " + "9" * 60_000,
    "sixties": "a: 1" + ":59" * 20_000,
    "underscores": "a: " + "1_" * 30_000 + "x",
    "anchors": "".join(f"a{n}: &x{n} 1\n" for n in range(4_000)),
    "python": "a: !!python/object/apply:os.system [true]",
    "itself": "&a [*a]",
    "keys": "? [a, [b]]\n: 1",
    "tag": "!<tag:yaml.org,2002:int> abc",
    "bytes": "a: \x00\x01",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", sorted(BOMBS))
def test_no_settings_hold_the_import(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, config = tmp_path / "m.ckpt", tmp_path / "config.yaml"
    torch.save({"a": torch.zeros(1)}, file)
    config.write_text(BOMBS[name], encoding="utf-8")
    began = time.process_time()
    with pytest.raises(UserError), refused(config, "config.yaml"):
        raise UserError(f"read as {type(read_yaml(config)).__name__}")
    assert time.process_time() - began < 5  # seconds of work; a second on an idle machine
    monkeypatch.chdir(tmp_path)
    line = refusal(
        config,
        lambda: command("import_checkpoint", "kind=adain_vc", f"path={file}", f"config={config}", "out=o.ckpt"),
    )
    assert "config.yaml" in line and not (tmp_path / "o.ckpt").exists()


def test_the_settings_that_failed_once_are_refused(shared: Path) -> None:
    with pytest.raises(UserError, match="more values or levels of nesting"):
        read_yaml(shared / "cases" / "config_merge_bomb.yaml")


def test_ordinary_settings_are_read(tmp_path: Path) -> None:
    factors = [1, 2]  # named twice, as in the published settings, it is written once and referred to
    said = {"SpeakerEncoder": {"c_in": 512, "subsample": factors}, "Content": {"subsample": factors, "x": None}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(said))
    assert read_yaml(tmp_path / "config.yaml") == said


@pytest.mark.parametrize(
    ("mean", "std"),
    [([0.0] * 4, [0.0] * 4), ([0.0] * 4, [1.0, 1.0, -1.0, 1.0]), ([0.0] * 4, [1.0] * 3), ([0.0] * 4, [np.nan] * 4)],
)
def test_statistics_that_no_features_have_are_refused(mean: list, std: list, tmp_path: Path) -> None:
    import pickle

    file = tmp_path / "attr.pkl"
    with io.BytesIO() as text:
        pickle.dump({"mean": np.array(mean, np.float32), "std": np.array(std, np.float32)}, text)
        file.write_bytes(text.getvalue())
    refusal(file, lambda: read_statistics(file))
