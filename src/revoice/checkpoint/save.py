"""Writing a model as a file that stands alone."""

import io
import json
from os.path import lexists
from pathlib import Path

import torch
from torch import Tensor, nn

from revoice.atomic import replacing, require_writable
from revoice.checkpoint.description import CHECKSUM, KEY, Description, checksum
from revoice.errors import UserError


def save(model: nn.Module, description: Description, path: Path, half: bool = False) -> None:
    """Write a model: `.safetensors` (description in the header, and readable JSON beside it) or `.ckpt`.

    Whole or not at all; a `UserError` says why it cannot be written.

    Args:
        model: its `state_dict` is written.  description: what the file says about it.
        path: the name says the form.
        half: write float16 where the model has float32 (`.safetensors` only); `load_checkpoint` gives float32 again.
    """
    from safetensors.torch import save as serialize

    if half and path.suffix != ".safetensors":
        raise UserError(f"{path}: half=true writes float16 into a .safetensors file, no other")
    state = {name: value.detach().contiguous().cpu() for name, value in model.state_dict().items()}
    state = {name: _halved(name, value) for name, value in state.items()} if half else state
    # in memory first: the libraries' own writers do not say that a disk is full
    if path.suffix == ".safetensors":
        about = description.to_dict()
        text = json.dumps(about, indent=2)
        header = json.dumps({**about, CHECKSUM: checksum(about, state)})
        with replacing(path.with_suffix(".json")) as beside, replacing(path, sync=True) as file:
            beside.write(f"{text}\n".encode())
            file.write(serialize(state, metadata={KEY: header}))
    else:
        data = io.BytesIO()
        torch.save({KEY: description.to_dict(), "state_dict": {f"model.{k}": v for k, v in state.items()}}, data)
        with replacing(path, sync=True) as file:
            file.write(data.getbuffer())


def require_free(path: Path, *inputs: Path) -> None:
    """Refuse, before the work, to write a model to where something else is: `save` replaces what it finds.

    Args:
        path: for `save` or a graph, with what is written beside it; an earlier model of revoice there may be replaced.
        inputs: what the model is made from; that may not.

    Raises:
        UserError: the place is taken, or cannot be written to.
    """
    from revoice.checkpoint.load import read_checkpoint

    require_writable(path)
    if any(path.exists() and given.exists() and path.samefile(given) for given in inputs):
        raise UserError(f"{path}: is what is read: give another name")
    beside = path.with_suffix(".json")
    safe = path.suffix in (".safetensors", ".onnx")
    sibling = path.with_suffix(".safetensors" if path.suffix == ".onnx" else ".onnx")
    if safe and lexists(beside) and lexists(sibling):
        raise UserError(f"{beside}: belongs to {sibling.name} and would be replaced: give another name")
    more = [path.with_suffix(end) for end in (".npz", ".embedding.onnx", ".pitch.onnx") if path.suffix == ".onnx"]
    taken = next((name for name in ([path, beside, *more] if safe else [path]) if lexists(name)), None)
    try:
        ours = taken is None or (_describes(beside) if safe else bool(read_checkpoint(path)))
    except UserError:
        ours = False
    if not ours:
        raise UserError(f"{taken}: is there and no model of revoice's, and would be replaced: give another name")


def _describes(file: Path) -> bool:
    try:
        about = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(about, dict) and {"model", "arguments", "features"} <= about.keys()


def _halved(name: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    if bool(value.isfinite().all() & ~value.half().isfinite().all()):
        raise UserError(
            f"{name} has numbers beyond {torch.finfo(torch.float16).max:,.0f}, the last of float16: half=false"
        )
    return value.half()
