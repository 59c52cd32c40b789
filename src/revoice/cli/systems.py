"""The models that a command works with: checkpoints (`ckpt=`), or one that needs no training (`model=`)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import described
from revoice.checkpoint.vocoder import check_vocoder
from revoice.conversion.adaptation import Adaptation, Steps
from revoice.conversion.converter import Converter
from revoice.conversion.load import load
from revoice.data.fields.f0 import Search
from revoice.errors import UserError
from revoice.models.base import MODELS, ConversionModel, Trainable
from revoice.registry import accepted
from revoice.settings import Given, Place, Word, Words, settings


@settings
class Speaking:
    """What convert.py and evaluate.py share: which systems speak, and how."""

    ckpt: Words | None = None
    model: Given | None = None
    features: FeatureSpec | None = None
    vocoder: Given
    out: Place | None = None
    device: Word | None = None
    adapt: Annotated[Adaptation, Steps] = Adaptation()
    controls: Given = field(default_factory=dict)
    f0: Search | None = None

    def __post_init__(self) -> None:
        check_vocoder(self.vocoder)
        if self.model is not None:
            name, values = MODELS.named(self.model, "model")
            MODELS.check(name, values, facts=("n_features", "sample_rate", "hop"))
            kind = MODELS.get(name)
            if issubclass(kind, ConversionModel) and not kind.trained:
                _misplaced(name, self.controls)
                kind.typed_controls(self.controls)
        for path in self.ckpt or ():
            about = described(path)
            if about and about.kind == "vocoder":
                raise UserError(
                    f"ckpt={path} holds a vocoder, {about.model}, which converts nothing: type vocoder.ckpt={path}"
                )
            kind = MODELS.get(about.model) if about and about.kind == "model" else Trainable
            if issubclass(kind, ConversionModel) and self.model is None:
                kind.typed_controls(self.controls)


def _misplaced(name: str, controls: Mapping[str, Any]) -> None:
    known = accepted(MODELS.get(name))
    for key in controls:
        if key in known:
            raise UserError(f"{key} is a setting of the model: type model.{key}={controls[key]}")


def from_checkpoint(path: str, values: Mapping[str, Any], device: str) -> Converter:
    """A converter of a checkpoint; the controls are its own unless a `model=` is given, whose they then are."""
    controls = {} if values.get("model") else values["controls"]
    return load(path, device, values["vocoder"], values["adapt"], controls=controls, f0=values.get("f0"))


def from_settings(values: Mapping[str, Any], device: str) -> Converter:
    """A converter of the model named by `model=`, which needs no training."""
    name, settings = MODELS.named(values["model"], "model")
    _misplaced(name, values["controls"])
    spec = FeatureSpec.from_dict(values["features"])
    return load(
        device=device, vocoder=values["vocoder"], adapt=values["adapt"], settings=settings, model=name, features=spec,
        controls=values["controls"], f0=values.get("f0"),
    )  # fmt: skip


def systems(paths: Sequence[str], values: Mapping[str, Any], device: str) -> dict[str, Converter]:
    """All systems of a comparison by name: checkpoints, and the model of `model=`.

    Another search of the pitch (`f0=`) is for those that are told the pitch; the others hear their sources as before.

    Raises:
        UserError: none of them is told the pitch that `f0=` is about.
    """
    plain = {**values, "f0": None}
    made = [from_checkpoint(path, plain, device) for path in paths]
    given = [(Path(path), one.model.name) for path, one in zip(paths, made, strict=True)]
    if values.get("model"):
        made.append(from_settings(plain, device))
        given.append((Path(made[-1].model.name), made[-1].model.name))
    named = dict(zip(system_names(given), made, strict=True))
    method = values.get("f0")
    if method is None:
        return named
    hearing = {name: one.searching(method) for name, one in named.items() if one.told_pitch}
    if not hearing:
        raise UserError(f"f0={method}: {', '.join(named)}: not told the pitch: leave f0= out")
    if deaf := [name for name in named if name not in hearing]:
        print(f"f0={method} is not for {', '.join(deaf)}: not told the pitch")
    return {**named, **hearing}


def system_names(given: Sequence[tuple[Path, str]]) -> list[str]:
    """What systems are called, each by another name.

    Args:
        given: path of each checkpoint or run folder, and the name of its model, which stands for a folder that is
            called by its date or number.

    >>> runs = Path("outputs/train/vqvae")
    >>> system_names([(Path("a.ckpt"), "recsyn"), (runs / "2026-01-02_03-04-05", "vqvae")])
    ['a', 'vqvae']
    >>> system_names([(runs / "2026-01-02_03-04-05", "vqvae"), (runs / "2026-01-02_06-07-08_sweep/3", "vqvae")])
    ['vqvae (2026-01-02_03-04-05)', 'vqvae (3)']
    """
    own = [path.stem if path.suffix else path.name for path, _ in given]
    names = [model if re.fullmatch(r"[\d_-]+", name) else name for name, (_, model) in zip(own, given, strict=True)]
    names = [
        f"{name} ({folder})" if names.count(name) > 1 and name != folder else name
        for name, folder in zip(names, own, strict=True)
    ]
    return [name + "'" * names[:place].count(name) for place, name in enumerate(names)]
