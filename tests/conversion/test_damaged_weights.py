"""Weights that changed after they were written, names that are no files, tensors that share their numbers."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from revoice.checkpoint import load
from revoice.checkpoint.description import KEY
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.save import save
from revoice.errors import UserError
from revoice.untrusted import read_torch
from tests.conversion.untrusted_helpers import load_or_refuse, refusal, small


def test_a_flipped_bit_in_safetensors_is_refused(tmp_path: Path) -> None:
    honest, file = tmp_path / "honest.safetensors", tmp_path / "m.safetensors"
    model, about = small()
    save(model, about, honest)
    whole = honest.read_bytes()
    begins = 8 + struct.unpack("<Q", whole[:8])[0]
    for place in range(begins, len(whole), (len(whole) - begins) // 40):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        file.write_bytes(broken)
        assert "damaged (its checksum differs)" in refusal(file, lambda: load_checkpoint(file))
    for place in range(8, begins, begins // 150):  # of the header: refused, or without a meaning
        broken = bytearray(whole)
        broken[place] ^= 1
        file.write_bytes(broken)
        if loaded := load_or_refuse(file):
            assert loaded.description.to_dict() == about.to_dict()
    changed = whole.replace(rb"\"trim_db\": 15.0", rb"\"trim_db\": 16.0")
    assert changed != whole
    file.write_bytes(changed)
    assert "checksum" in refusal(file, lambda: load_checkpoint(file))


def test_safetensors_without_a_checksum_load(tmp_path: Path) -> None:
    model, about = small()
    save_file(dict(model.state_dict()), tmp_path / "m.safetensors", {KEY: json.dumps(about.to_dict())})
    for name, value in load_checkpoint(tmp_path / "m.safetensors").model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_two_exports_have_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        save(*small(), tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text()) == small()[1].to_dict()


def test_names_that_no_file_can_have_are_one_line(tmp_path: Path) -> None:
    for name in ("a" * 300, str(tmp_path / ("a" * 300)), "a" * 300 + ".safetensors", "a/" * 3000):
        assert "name too long" in refusal(Path(name), lambda name=name: load_checkpoint(name))


def test_tensors_that_share_their_numbers_are_read(tmp_path: Path) -> None:
    file, tied = tmp_path / "m.ckpt", torch.arange(50_000.0)
    torch.save({"a": tied, "b": tied, "c": {"d": tied[:100], "e": tied.view(50, -1)}}, file)
    found = read_torch(file)
    assert torch.equal(found["a"], tied) and torch.equal(found["b"], tied) and found["c"]["e"].shape == (50, 1000)
    for lie in (
        {str(name): tied for name in range(100)},  # a model of a hundred times the file
        {"a": tied, "b": tied[:1].expand(10**9)},
        {"a": torch.zeros(1).expand(30_000), "b": torch.zeros(1).expand(30_000), "c": torch.zeros(30_000)},
    ):
        torch.save(lie, file)
        with pytest.raises(UserError, match="its tensors claim"):
            read_torch(file)


def test_a_file_that_goes_while_it_is_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "m.safetensors"
    save(*small(), file)
    read = load.read_safetensors

    def read_and_remove(*arguments: object, **more: object) -> object:
        found = read(*arguments, **more)
        file.unlink()
        return found

    monkeypatch.setattr(load, "read_safetensors", read_and_remove)
    assert "gone while it was read" in refusal(file, lambda: load_checkpoint(file))
