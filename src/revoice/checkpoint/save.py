"""Writing a model as a file that stands alone."""

import io
import json
from pathlib import Path

import torch
from torch import Tensor

from revoice.atomic import replacing
from revoice.checkpoint.description import CHECKSUM, KEY, Description, checksum
from revoice.errors import UserError
from revoice.models.base import Trainable


def save(model: Trainable, description: Description, path: Path, half: bool = False) -> None:
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


def _halved(name: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    if bool(value.isfinite().all() & ~value.half().isfinite().all()):
        raise UserError(
            f"{name} has numbers beyond {torch.finfo(torch.float16).max:,.0f}, the last of float16: half=false"
        )
    return value.half()
