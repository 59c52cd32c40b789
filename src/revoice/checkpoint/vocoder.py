"""The vocoder that somebody asks for, by its settings or by its weights."""

from typing import Any

import torch

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import find_checkpoint, load_checkpoint
from revoice.errors import UserError
from revoice.settings import Given, Place, checked
from revoice.vocoders.base import VOCODERS, Vocoder


def load_vocoder(values: Any, spec: FeatureSpec, device: str | torch.device = "cpu") -> Vocoder:
    """The vocoder of `{name, ckpt, setting: ...}`: one that needs no training, or the one in the checkpoint `ckpt`.

    Raises:
        UserError: it is one that has to be trained and there is no checkpoint; the checkpoint holds something else, or
            a vocoder of other features than `spec`.
    """
    given = checked(Given, values, "vocoder")
    path, name = given.pop("ckpt", None), given.get("name")
    if path is None:
        name, given = VOCODERS.named(given, "vocoder")
        if VOCODERS.get(name).trained:
            raise UserError(f"vocoder {name} speaks with trained weights: type vocoder.ckpt=RUN_FOLDER_OR_FILE")
        return VOCODERS.build(name, given, {"spec": spec}).to(device).eval()
    loaded = load_checkpoint(str(path), device)
    if not isinstance(loaded.model, Vocoder) or name not in (None, loaded.model.name):
        wanted = f"vocoder {name}" if name else "vocoder"
        raise UserError(f"vocoder.ckpt={path} holds a {loaded.model.name}, expected a {wanted}")
    loaded.spec.require_match(spec, f"vocoder {loaded.model.name}", "the model")
    loaded.model.fuse()
    loaded.model.settings["sha256"] = loaded.sha256
    return loaded.model


def check_vocoder(values: Any) -> None:
    """Refuse what `load_vocoder` would refuse, without reading a checkpoint."""
    given = checked(Given, values, "vocoder")
    path = given.pop("ckpt", None)
    if path is not None:
        find_checkpoint(checked(Place, path, "vocoder.ckpt"))
        return
    name, given = VOCODERS.named(given, "vocoder")
    if VOCODERS.get(name).trained:
        raise UserError(f"vocoder {name} speaks with trained weights: type vocoder.ckpt=RUN_FOLDER_OR_FILE")
    VOCODERS.check(name, given, facts=("spec",))
