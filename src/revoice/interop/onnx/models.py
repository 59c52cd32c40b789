"""Conversion models as graphs: the fields of a source and a target in, features out."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.interop.onnx.graph import LONGEST, Graph, Variadic
from revoice.interop.onnx.hearing import Listening, longest_of
from revoice.models.base import ConversionModel
from revoice.nn.content import RecognizedContent

OUTSIDE = {  # models that take clips, and why there is no graph of them
    "codegan": "whose codes are rewritten to an emotion, which a graph is not asked for",
    "pix2pix": "which hears an anonymized copy of the source and seeks phases, both outside of its network",
    "random_cnn": "which searches for every clip anew",
    "speechsplit": "whose steps depend on the clips",
}
INSTEAD = "take recsyn, adain_vc or vqvae"


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
        source, target = (self._clip(named, side) for side in ("source_", "target_"))
        return self.model.convert(source, [target], self.model.typed_controls({}))

    def _clip(self, named: Mapping[str, Tensor], side: str) -> Batch:
        own: dict[str, Any] = {name.removeprefix(side): each for name, each in named.items() if name.startswith(side)}
        if "features" not in own:  # only how many there are is asked for
            frames = own["f0"].shape[1] if "f0" in own else 1
            own["features"] = torch.zeros(1, self.channels, frames)
        return Batch(id=("",), lengths=torch.full((1,), own["features"].shape[2]), **own)


def model_graph(model: nn.Module, spec: FeatureSpec) -> Graph:
    """The graph of a model that takes clips; it asks for those fields alone that change what comes out.

    Raises:
        UserError: it has none.
    """
    name = getattr(model, "name", "critics")
    if name in OUTSIDE:
        raise UserError(f"no graph of {name}, {OUTSIDE[name]}: {INSTEAD}")
    if not isinstance(model, ConversionModel) or model.target != "clips":
        raise UserError(f"no graph of {name}: expected a model that takes clips of the target, or a trained vocoder")
    shapes = _shapes(model, spec)
    if others := [field for field in model.requires.of_clip if f"source_{field}" not in shapes]:
        raise UserError(f"no graph of {name}, which asks for the {others[0]} of a clip: {INSTEAD}")
    heard = [each for each in model.children() if isinstance(each, RecognizedContent)]
    longest = min([LONGEST, *(longest_of(each) for each in heard)])
    used = _used(Graph(_Conversion(model, list(shapes), spec.channels), shapes, "features"))
    asked = {name: shape for name, shape in shapes.items() if name in used}
    module, truth = (_Conversion(each, list(asked), spec.channels) for each in (_traceable(model), model))
    return Graph(module, asked, "features", truth, longest=longest)


def _shapes(model: ConversionModel, spec: FeatureSpec) -> dict[str, tuple[Any, ...]]:
    fields = dict.fromkeys(("features", *model.requires.of_clip))
    shapes: dict[str, tuple[Any, ...]] = {}
    for side in ("source", "target"):
        frames = f"{side}_frames"
        known = {
            "features": (1, spec.channels, (frames, 1)), "f0": (1, (frames, 1)), "embedding": (1, 256),
            "waveform": (1, (frames, spec.hop)),
        }  # fmt: skip
        shapes |= {f"{side}_{field}": known[field] for field in fields if field in known}
    return shapes


@torch.no_grad()
def _used(graph: Graph) -> set[str]:
    """The inputs that something depends on: those without which the result is another."""
    lengths = dict.fromkeys(graph.names, graph.shortest)
    inputs, others = graph.inputs(lengths), graph.inputs(lengths, seed=1)
    module = graph.module.eval()
    made = module(*inputs.values())
    return {name for name in inputs if not torch.equal(made, module(*{**inputs, name: others[name]}.values()))}


def _traceable(model: ConversionModel) -> ConversionModel:
    """The model, its ear one that can be traced."""
    found = copy.deepcopy(model)
    for name, child in model.named_children():
        if isinstance(child, RecognizedContent):
            setattr(found, name, Listening(child))
    return found
