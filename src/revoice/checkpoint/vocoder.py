"""The vocoder that somebody asks for, by its settings or by its weights, or that lies beside a model."""

from pathlib import Path
from typing import Any

import torch

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import WEIGHTS, Loaded, described, find_checkpoint, load_checkpoint
from revoice.errors import UserError
from revoice.models.base import ConversionModel
from revoice.settings import Flag, Given, NotNegative, Place, Seed, Word, checked, from_mapping, settings
from revoice.vocoders.base import VOCODERS, Vocoder
from revoice.vocoders.neural import NeuralVocoder, Projections

FOUND = "found"  # the name that asks for what lies beside the model's checkpoint
_NAMES = ("vocoder.ckpt", "vocoder.safetensors")


@settings
class Trained:
    """A vocoder with its weights.

    Attributes:
        ckpt: a run folder, a checkpoint or an exported file.
        name: what is expected there; None: any.
        projections, sigma, denoise, bf16, seed: see `NeuralVocoder`, `WaveGlow` and `SourceFilter`; None: as the
            checkpoint says.
    """

    ckpt: Place
    name: Word | None = None
    projections: Projections | None = None
    sigma: NotNegative | None = None
    denoise: NotNegative | None = None
    bf16: Flag | None = None
    seed: Seed | None = None


def asked(values: Any) -> Trained | tuple[str, dict[str, Any]]:
    """What `{name, ckpt, setting: ...}` asks for: weights, or a name with its settings.

    Raises:
        UserError: neither, or a vocoder that has to be trained without its weights.
    """
    given = checked(Given, values, "vocoder")
    if given.get("ckpt") is not None:
        return from_mapping(Trained, given, "vocoder")
    if given.get("name") == FOUND:
        for key in given.keys() - {"name", "ckpt"}:
            raise UserError(f"vocoder.{key}={given[key]}: of which vocoder? add vocoder=griffin_lim")
        return "griffin_lim", {}
    name, given = VOCODERS.named({key: value for key, value in given.items() if key != "ckpt"}, "vocoder")
    if VOCODERS.get(name).trained:
        raise UserError(f"vocoder {name} speaks with trained weights: type vocoder.ckpt=RUN_FOLDER_OR_FILE")
    return name, given


def check_vocoder(values: Any) -> None:
    """Refuse what `load_vocoder` would refuse, without reading a checkpoint."""
    what = asked(values)
    if isinstance(what, Trained):
        find_checkpoint(what.ckpt)
    else:
        VOCODERS.check(*what, facts=("spec",))


def _shipped(spec: FeatureSpec, model: Loaded) -> Path | None:
    """The vocoder that ships, if it speaks these features and the model tells the pitch of what it makes."""
    made, file = model.model, WEIGHTS / "vocoder.safetensors"
    told = isinstance(made, ConversionModel) and made.tells_pitch
    about = described(file) if told and file.is_file() else None
    fits = about is not None and FeatureSpec.from_dict(about.features).fingerprint == spec.fingerprint
    return file if fits else None


def beside(model: Loaded) -> Path | None:
    """The vocoder of the model's features that lies in the folder of its checkpoint, or in the run folder around it."""
    if model.path is None:
        return None
    folder = model.path.resolve().parent
    folders = [folder, folder.parent] if folder.name == "checkpoints" else [folder]
    places = [place for each in folders for name in _NAMES if (place := each / name) != model.path.resolve()]
    return next((place for place in places if place.is_file()), None)


def load_vocoder(
    values: Any, spec: FeatureSpec, device: str | torch.device = "cpu", model: Loaded | None = None
) -> Vocoder:
    """The vocoder of `{name, ckpt, setting: ...}`: one that needs no training, or the one in the checkpoint `ckpt`.

    The name "found" asks for the one that lies beside the checkpoint of `model`, else for the one that ships, if it
    speaks the model's features and the model tells it the pitch, else for Griffin-Lim.

    Raises:
        UserError: see `asked`; the checkpoint holds something else, or a vocoder of other features than `spec`.
    """
    what = asked(values)
    if not isinstance(what, Trained) and dict(values).get("name") == FOUND and model is not None:
        near = beside(model)
        if near is not None:
            try:
                return load_vocoder({"ckpt": near}, spec, device)
            except UserError as error:
                raise UserError(
                    f"{error}; it lies beside the model: take it away, or type vocoder=griffin_lim"
                ) from error
        if (file := _shipped(spec, model)) is not None:
            return load_vocoder({"ckpt": file}, spec, device)
    if not isinstance(what, Trained):
        name, given = what
        return VOCODERS.build(name, given, {"spec": spec}).to(device).eval()
    loaded = load_checkpoint(what.ckpt, device)
    vocoder = loaded.model
    if not isinstance(vocoder, NeuralVocoder) or what.name not in (None, vocoder.name):
        wanted = f"vocoder {what.name}" if what.name else "vocoder"
        raise UserError(f"vocoder.ckpt={what.ckpt} holds a {vocoder.name}, expected a {wanted}")
    loaded.spec.require_match(spec, f"vocoder {vocoder.name}", "the model")
    given = {name: getattr(what, name) for name in ("projections", "sigma", "denoise", "bf16", "seed")}
    vocoder.set_speaking({name: value for name, value in given.items() if value is not None})
    vocoder.fuse()
    vocoder.settings |= {"projections": vocoder.projections, "checkpoint": str(loaded.path), "sha256": loaded.sha256}
    return vocoder
