"""Checkpoints in float16: half the size, float32 again when loaded, refused like any other."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from revoice.checkpoint.description import KEY
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.save import save
from tests.conversion.untrusted_helpers import SIZES, command, content, refusal, small


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_half_is_float32_again_when_loaded(kind: str, tmp_path: Path) -> None:
    model, about = small(kind)
    file, again = tmp_path / "m.safetensors", tmp_path / "again.safetensors"
    save(model, about, file, half=True)
    loaded = load_checkpoint(file)
    for name, value in model.state_dict().items():
        found = loaded.model.state_dict()[name]
        assert found.dtype == value.dtype
        assert torch.equal(found, value.half().to(value.dtype) if value.is_floating_point() else value)
    stored = load_file(file)
    assert all(value.dtype == torch.float16 or not value.is_floating_point() for value in stored.values())
    save(loaded.model, loaded.description, again, half=True)
    assert again.read_bytes() == file.read_bytes()


def test_export_writes_half(tmp_path: Path) -> None:
    save(*small(), tmp_path / "m.ckpt")
    for given, dtype in (("half=true", torch.float16), ("half=false", torch.float32)):
        command("export", f"ckpt={tmp_path / 'm.ckpt'}", f"out={tmp_path / 'm.safetensors'}", given)
        assert {value.dtype for value in load_file(tmp_path / "m.safetensors").values()} == {dtype}
    line = refusal(
        tmp_path,
        lambda: command("export", f"ckpt={tmp_path / 'm.ckpt'}", f"out={tmp_path / 'n.safetensors'}", "half=a"),
    )
    assert "half=a" in line and not (tmp_path / "n.safetensors").exists()


def test_what_float16_cannot_hold_is_not_written(tmp_path: Path) -> None:
    model, about = small()
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = 70_000.0
    file = tmp_path / "m.safetensors"
    assert "65,504" in refusal(file, lambda: save(model, about, file, half=True))
    assert "half=true" in refusal(file, lambda: save(model, about, tmp_path / "m.ckpt", half=True))
    assert not list(tmp_path.iterdir())


def test_half_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    """Neither with a checksum nor without one do 16 bits hide what 32 do not."""
    model, about = small("vqvae")
    file, name = tmp_path / "m.safetensors", "decoder.conv_out.weight"
    state = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    header = {KEY: json.dumps(about.to_dict())}
    save_file(state, file, header)
    load_checkpoint(file)
    save_file(state | {name: state[name].bfloat16()}, file, header)
    load_checkpoint(file)
    for value in (
        torch.full_like(state[name], torch.nan), torch.full_like(state[name], -torch.inf), state[name][:1].clone(),
        state[name].double(), state[name].to(torch.int16), torch.zeros(0).half(), state[name].to(torch.float8_e5m2),
    ):  # fmt: skip
        save_file(state | {name: value}, file, header)
        assert name in refusal(file, lambda: load_checkpoint(file))
    whole = [key for key, value in state.items() if not value.is_floating_point()]
    for key in whole:
        save_file(state | {key: state[key].half()}, file, header)
        assert key in refusal(file, lambda key=key: load_checkpoint(file))
    save(model, about, file, half=True)
    broken = bytearray(file.read_bytes())
    broken[-1] ^= 1
    file.write_bytes(broken)
    assert "checksum" in refusal(file, lambda: load_checkpoint(file))


def test_a_ckpt_of_half_is_a_model_too(tmp_path: Path) -> None:
    whole = content()
    for key, value in whole["state_dict"].items():
        whole["state_dict"][key] = value.half() if value.is_floating_point() else value
    torch.save(whole, tmp_path / "m.ckpt")
    assert {value.dtype for value in load_checkpoint(tmp_path / "m.ckpt").model.parameters()} == {torch.float32}
