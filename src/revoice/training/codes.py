"""The model that another one stands on whole: where its weights come from at the start of training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import Loaded, find_checkpoint, load_checkpoint
from revoice.errors import UserError
from revoice.models.base import Coder, Trainable
from revoice.models.codegan import CodeGAN
from revoice.settings import Given, checked

HOW = "python train.py model=speechsplit data=..., then model.codes.ckpt=RUN_FOLDER"


def require_codes(name: str, values: Mapping[str, Any]) -> None:
    """Refuse a new model that stands on the codes of another one of which it is not said where it is."""
    if "codes" not in values:
        return
    codes = checked(Given | None, values["codes"], "model.codes") or {}
    if codes.get("ckpt"):
        find_checkpoint(str(codes["ckpt"]))
    else:
        raise UserError(f"model {name} rewrites the codes of a model that takes speech apart: {HOW}")


def settle_codes(
    values: Mapping[str, Any], spec: FeatureSpec, fields: Mapping[str, Any]
) -> tuple[dict[str, Any], Loaded | None]:
    """The settings of a new model with the name and the settings of the one it stands on, and where that is.

    Args:
        values: as typed.
        spec: of the features.
        fields: settings of the other stored fields.

    Raises:
        UserError: that one has no codes, other features, or a pitch that was searched otherwise.
    """
    path = (values.get("codes") or {}).get("ckpt")
    if not path:
        return dict(values), None
    loaded = load_checkpoint(str(path))
    if not isinstance(loaded.model, Coder):
        raise UserError(f"{loaded.path} holds a {loaded.model.name}, which has no codes: {HOW}")
    loaded.spec.require_match(spec, f"model.codes.ckpt={path}", "features=")
    about = loaded.description
    known, given = about.fields.get("f0", {}), dict(fields.get("f0", {}))
    if given and known != {**known, **given}:
        raise UserError(f"model.codes.ckpt={path} knows pitch searched by {known}: set data.prepare.fields.f0 to that")
    return {**values, "codes": {"model": about.model, "arguments": about.arguments}}, loaded


def require_same_codes(start: Loaded, values: Mapping[str, Any]) -> None:
    """Refuse to go on with a model (`init_from`) that stands on other codes than `model.codes.ckpt` says."""
    path = (values.get("codes") or {}).get("ckpt")
    if not path or not isinstance(start.model, CodeGAN) or start.model.coder is None:
        return
    own, said = (model.state_dict() for model in (start.model.coder, load_checkpoint(str(path)).model))
    if own.keys() != said.keys() or not all(torch.equal(own[name], said[name]) for name in own):
        raise UserError(
            f"init_from={start.path} holds the model whose codes it rewrites, which is not that of "
            f"model.codes.ckpt={path}: leave that out (model.codes.ckpt=null), or begin anew without init_from"
        )


def require_emotions(arguments: Mapping[str, Any], found: Sequence[str], start: Loaded | None) -> None:
    """Refuse data whose table of emotions is not that of the model, if it has one."""
    known = arguments.get("emotions")
    if known is None or list(known) == list(found):
        return
    told, has = ", ".join(known), ", ".join(found) or "none"
    if start:
        raise UserError(
            f"init_from={start.path} knows the emotions {told}, the data has {has}: give data with the same"
        )
    lost = ", ".join(sorted({*known} - {*found}))
    raise UserError(f"of the emotions {told} every training clip of {lost} was rejected: leave it out of the data")


def adopt_codes(model: Trainable, source: Loaded | None) -> None:
    """Copy the weights of the model that a new one stands on."""
    if source is not None:
        assert isinstance(model, CodeGAN) and model.coder is not None
        model.coder.load_state_dict(source.model.state_dict())
