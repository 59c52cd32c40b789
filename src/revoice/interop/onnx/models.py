"""Conversion models as graphs: the fields of a source and a target in, features out."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from revoice.audio.scale import per_neper
from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.interop.onnx.graph import Graph, Variadic
from revoice.interop.onnx.hearing import longest_of, traceable
from revoice.models.base import ConversionModel
from revoice.nn import tone
from revoice.nn.voice_code import VoiceCode

Shapes = dict[str, tuple[Any, ...]]


class _Conversion(Variadic):
    """A model with the fields of its clips as arguments, and its controls as they are by default.

    Args:
        model: that converts.
        names: of the arguments, `source_f0` and so on.
        channels: of its features.
    """

    def __init__(self, model: ConversionModel, names: list[str], channels: int) -> None:
        super().__init__()
        self.model, self.names, self.channels = model, names, channels

    def forward(self, *given: Tensor) -> Tensor:
        named = dict(zip(self.names, given, strict=True))
        source, target = (clip_of(named, side, self.channels) for side in ("source_", "target_"))
        return self.model.convert(source, [target], self.model.typed_controls({}))


def clip_of(named: Mapping[str, Tensor], side: str, channels: int) -> Batch:
    """The clip of one side, "source_" or "target_", from fields by name; features that are not there are zeros."""
    own: dict[str, Any] = {name.removeprefix(side): each for name, each in named.items() if name.startswith(side)}
    if "features" not in own:  # only how many there are is asked for
        frames = own["f0"].shape[1] if "f0" in own else 1
        own["features"] = torch.zeros(1, channels, frames)
    return Batch(id=("",), lengths=torch.full((1,), own["features"].shape[2]), **own)


def model_graph(model: ConversionModel, spec: FeatureSpec) -> Graph:
    """The graph of a model that takes clips; it asks for those fields alone that change what comes out.

    A model that speaks with the voices of its table takes a row of that, and the level of its pitch.

    Raises:
        UserError: it has none.
    """
    shapes = shapes_of(model, spec)
    if others := [field for field in model.requires.of_clip if f"source_{field}" not in shapes]:
        raise UserError(f"no graph of {model.name}, which asks for the {others[0]} of a clip")
    table = {}
    if model.target == "speaker":
        assert isinstance(model.voice, VoiceCode)
        table = {"target_speaker": len(model.voice.layer.weight)}
    whole = Graph(_Conversion(model, list(shapes), spec.channels), shapes, "features", integers=table)
    asked = {name: shape for name, shape in shapes.items() if name in used(whole)}
    module, truth = (_Conversion(each, list(asked), spec.channels) for each in (traceable(model), model))
    facts = _tone(spec) if model.target == "clips" and model.Controls().toned else {}
    return Graph(module, asked, "features", truth, longest=longest_of(model), integers=table, facts=facts)


def _tone(spec: FeatureSpec) -> dict[str, Any]:
    """How a program gives conversions the tone of their target, as `nn.tone` does."""
    unit = per_neper(spec)
    if unit is None:
        return {}
    names = ("seconds", "depth", "loud", "doubt", "near", "alone", "either_side", "limit", "trust", "smallest")
    return {"tone": {"unit": unit, **{name: getattr(tone, name.upper()) for name in names}}}


def shapes_of(model: ConversionModel, spec: FeatureSpec) -> Shapes:
    """What it may ask of a source and a target, by name."""
    shapes = _of_clip(model, spec, "source")
    if model.target == "speaker":
        return shapes | {"target_speaker": (1,), "target_level": (1,)}
    return shapes | _of_clip(model, spec, "target")


def _of_clip(model: ConversionModel, spec: FeatureSpec, side: str) -> Shapes:
    frames = f"{side}_frames"
    known: Shapes = {
        "features": (1, spec.channels, (frames, 1)), "f0": (1, (frames, 1)), "embedding": (1, 256),
        "waveform": (1, (frames, spec.hop)),
    }  # fmt: skip
    fields = dict.fromkeys(("features", *model.requires.of_clip))
    return {f"{side}_{field}": known[field] for field in fields if field in known}


@torch.no_grad()
def used(graph: Graph) -> set[str]:
    """The inputs that something depends on: those without which the result is another, and all integers.

    Features of a source that is not heard as a waveform are among them, even if codes that never learned are all one.
    """
    lengths = dict.fromkeys(graph.names, graph.shortest)
    inputs, others = graph.inputs(lengths), graph.inputs(lengths, seed=1)
    module = graph.module.eval()
    made = module(*inputs.values())
    changed = {name for name in inputs if not torch.equal(made, module(*{**inputs, name: others[name]}.values()))}
    heard = set() if "source_waveform" in inputs else {"source_features"}
    return changed | set(graph.integers) | heard
