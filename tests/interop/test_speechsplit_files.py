"""Published SpeechSplit files become one checkpoint, whichever of the two are there."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from revoice.checkpoint.load import load_checkpoint
from revoice.errors import UserError
from revoice.interop.speechsplit import our_state
from tests.conversion.untrusted_helpers import command


def bring(path: Path, out: Path) -> Any:
    command("import_checkpoint", "kind=speechsplit", f"path={path}", f"out={out}")
    return load_checkpoint(out)


@pytest.fixture
def files(shared: Path) -> Path:
    return shared / "parity" / "speechsplit" / "checkpoints"


def test_a_folder_gives_both_parts_bit_for_bit(files: Path, shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    for name in ("660000-G.ckpt", "640000-P.ckpt"):
        shutil.copy(files / name, folder)
    loaded = bring(folder, tmp_path / "both.safetensors")
    for part, fixture in (("generator", "generator_G"), ("pitch", "f0_converter_P")):
        tensors = load_file(shared / "parity" / "speechsplit" / f"{fixture}.safetensors")
        state = {key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")}
        own = loaded.model.parts()[part].state_dict()
        assert all(torch.equal(own[name], value) for name, value in our_state(state).items())
    assert loaded.model.untrained == "" and loaded.description.speakers == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("name", ["640000-P.ckpt", "640000-P.zip.ckpt"])
def test_a_lone_converter_says_what_it_lacks(name: str, files: Path, tmp_path: Path, capsys: Any) -> None:
    loaded = bring(files / name, tmp_path / "p.safetensors")
    assert loaded.model.untrained == "generator"
    assert "lacks the generator" in capsys.readouterr().out


def test_equal_files_give_an_equal_file_and_half_ones_half_of_it(files: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        bring(files / "640000-P.ckpt", tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    state = torch.load(files / "640000-P.ckpt", weights_only=True)["model"]
    torch.save({"model": {name: value.half() for name, value in state.items()}}, tmp_path / "1-P.ckpt")
    loaded = bring(tmp_path / "1-P.ckpt", tmp_path / "c.safetensors")
    stored = load_file(tmp_path / "c.safetensors")
    assert {value.dtype for value in stored.values() if value.is_floating_point()} == {torch.float16}
    own = loaded.model.parts()["pitch"].state_dict()
    assert all(torch.equal(own[name], value.half().float()) for name, value in our_state(state).items())


def test_a_lone_generator_says_what_it_lacks(files: Path, tmp_path: Path, capsys: Any) -> None:
    assert bring(files / "660000-G.ckpt", tmp_path / "g.safetensors").model.untrained == "pitch"
    assert "lacks the F0 converter" in capsys.readouterr().out


@pytest.mark.parametrize("voice", ["table", "embedding"])
def test_what_it_says_can_be_typed(voice: str, files: Path, clip: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "s.ckpt"
    for name in ("660000-G.ckpt", "640000-P.ckpt"):
        state = torch.load(files / name, weights_only=True)["model"]
        for end in ("", "_reverse") if voice == "embedding" and "G" in name else ():  # as wide as Resemblyzer's
            told = state[f"decoder.lstm.weight_ih_l0{end}"]
            state[f"decoder.lstm.weight_ih_l0{end}"] = torch.cat([told[:, :-5], 0.1 * torch.randn(len(told), 256)], 1)
        torch.save({"model": state}, tmp_path / name)
    assert bring(tmp_path, out).model.target == ("speaker" if voice == "table" else "clips")
    typed = capsys.readouterr().out.partition("convert with: ")[2].partition(" (")[0].split()
    assert typed[:2] == ["python", "convert.py"] and f"ckpt={out}" in typed
    said = [each.replace("a.wav", clip).replace("b.wav", clip) for each in typed[2:]]
    command("convert", *said, f"out={tmp_path / 'x.wav'}")
    assert (tmp_path / "x.wav").stat().st_size > 1000


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(2)}}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="neither SpeechSplit's generator"):
        bring(tmp_path / "a.ckpt", tmp_path / "b.ckpt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no NUMBER-G.ckpt"):
        bring(tmp_path / "empty", tmp_path / "b.ckpt")
