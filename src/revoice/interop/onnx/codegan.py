"""CodeGAN with the model of its codes: whose clip, whose voice, and which emotion, as a row of the checkpoint's."""

from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.interop.onnx.graph import Graph, Variadic
from revoice.interop.onnx.hearing import longest_of, traceable
from revoice.interop.onnx.models import clip_of, shapes_of, used
from revoice.interop.onnx.speechsplit import contour_of, encoded
from revoice.models.codegan.model import CodeGAN
from revoice.models.speechsplit.model import SpeechSplit
from revoice.nn.conv import fitted
from revoice.nn.pitch_classes import STEPS


class _Rewriting(Variadic):
    """Codes of clips, rewritten to an emotion, in a voice.

    Args:
        model: that rewrites.
        names: of the arguments.
        channels: of its features.
    """

    def __init__(self, model: CodeGAN, names: list[str], channels: int) -> None:
        super().__init__()
        self.model, self.names, self.channels = model, names, channels

    def forward(self, *given: Tensor) -> Tensor:
        model, named = self.model, dict(zip(self.names, given, strict=True))
        assert model.coder is not None
        source = clip_of(named, "source_", self.channels)
        if isinstance(model.coder, SpeechSplit):
            mel = source.features.clamp(0, 1)
            codes = encoded(model.coder, named.get("source_waveform", mel), named["pitch"], mel)
            voice = F.normalize(named["target_embedding"], dim=1)
        else:
            target = clip_of(named, "target_", self.channels)
            codes = model.coder.codes(replace(source, f0=model.moved_pitch(source, [target], 1.0)))
            voice = model.coder.told_by([target])
        codes = model.with_energy(codes, source)
        own = model.sequence(codes)
        made = fitted(model.generator(own, named["emotion"]), own.shape[2])
        return model.speak(model.put_back(codes, made), voice)


def codegan_graph(model: CodeGAN, spec: FeatureSpec) -> Graph:
    """The graph of CodeGAN on the codes of SpeechSplit, whose pitch goes in as classes, or of a converter.

    Raises:
        UserError: it stands on no model yet.
    """
    if model.coder is None:
        raise UserError("no graph of codegan without the model of its codes: train it with model.codes.ckpt=FILE")
    integers = {"emotion": len(model.emotions)}
    facts: dict[str, Any] = {"emotions": list(model.emotions)}
    shapes = shapes_of(model, spec) | {"emotion": (1,)}
    if isinstance(model.coder, SpeechSplit):
        integers["pitch"], facts["contour"] = STEPS + 1, contour_of(model.coder)
        kept = ("source_features", "source_waveform", "target_embedding", "emotion")
        shapes = {name: shapes[name] for name in kept if name in shapes} | {"pitch": (1, ("source_frames", 1))}
    whole = Graph(_Rewriting(model, list(shapes), spec.channels), shapes, "features", integers=integers)
    asked = {name: shape for name, shape in shapes.items() if name in used(whole)}
    module, truth = (_Rewriting(each, list(asked), spec.channels) for each in (traceable(model), model))
    return Graph(module, asked, "features", truth, longest=longest_of(model), integers=integers, facts=facts)
