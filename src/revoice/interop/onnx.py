"""Models and vocoders as ONNX graphs of any length, with all that a program without torch needs to feed them.

Beside `NAME.onnx` lie `NAME.json`, the description of the checkpoint with the graph's inputs, and `NAME.npz`, the
analysis window (n_fft,) and the mel filters (n_fft / 2 + 1, F) as numbers. docs/vocoders.md has the steps in words.
"""

import io
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from revoice.atomic import replacing
from revoice.audio.features import extractor
from revoice.audio.scale import to_log_magnitude
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import KEY, Description
from revoice.checkpoint.load import Loaded
from revoice.data.read.batch import Batch
from revoice.errors import UserError, one_line
from revoice.models.base import Coder, ConversionModel
from revoice.vocoders.neural import NeuralVocoder
from revoice.vocoders.vocos import Vocos
from revoice.vocoders.waveglow import WaveGlow

CLOSE = 1e-4  # how near onnxruntime has to come, relative to the largest value
_SHORT, _LONG = 64, 1 << 20  # frames
_EXAMPLES = (150, 171), (131, 202)  # frames of a source and a target, to trace with and to compare
_PER_CLIP = {"features": 2, "f0": 1}  # fields of a clip that grow with it: which dimension


@dataclass(frozen=True)
class Graph:
    """A network with named inputs.

    Attributes:
        module: takes the inputs in their order.
        shapes: of each input, a number or a multiple of a named length: `(1, 80, ("frames", 1))`.
        output: what the result is called.
    """

    module: nn.Module
    shapes: Mapping[str, tuple[Any, ...]]
    output: str

    def inputs(self, lengths: Mapping[str, int]) -> dict[str, Tensor]:
        """Random inputs; pitches are some."""
        found = {}
        for number, (name, shape) in enumerate(self.shapes.items()):
            sizes = [lengths[each[0]] * each[1] if isinstance(each, tuple) else each for each in shape]
            drawn = torch.rand(*sizes, generator=torch.Generator().manual_seed(number))
            found[name] = 100 + 100 * drawn if name.endswith("f0") else drawn
        return found

    def dimensions(self) -> tuple[Any, ...]:
        """What may grow of each input, as `torch.export` takes it."""
        names = {each[0] for shape in self.shapes.values() for each in shape if isinstance(each, tuple)}
        lengths = {name: Dim(name, min=_SHORT, max=_LONG) for name in names}
        found = tuple(
            {
                i: lengths[each[0]] * each[1] if each[1] > 1 else lengths[each[0]]
                for i, each in enumerate(shape)
                if isinstance(each, tuple)
            }
            for shape in self.shapes.values()
        )
        return (found,) if isinstance(self.module, _Conversion) else found


class _Conversion(nn.Module):
    """A model with the fields of its clips as arguments, and its controls as they are by default."""

    def __init__(self, model: ConversionModel, fields: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.fields = model, fields

    def forward(self, *given: Tensor) -> Tensor:
        source, target = self._clip(given[: len(self.fields)]), self._clip(given[len(self.fields) :])
        return self.model.convert(source, [target], self.model.typed_controls({}))

    def _clip(self, given: Sequence[Tensor]) -> Batch:
        rest: dict[str, Any] = dict(zip(self.fields[1:], given[1:], strict=True))
        return Batch(id=("",), features=given[0], lengths=torch.full((1,), given[0].shape[2]), **rest)


class _Speaking(nn.Module):
    """What the network of a vocoder says."""

    def __init__(self, vocoder: NeuralVocoder) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, features: Tensor) -> Tensor:
        return self.vocoder.speak(features)


class _Flowing(nn.Module):
    """WaveGlow, whose noise is drawn outside: normal numbers times sigma."""

    def __init__(self, vocoder: WaveGlow) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        said = self.vocoder.decode(self.vocoder.noise_of(noise), self.vocoder.heard(features))
        return said[:, : self.vocoder.spec.samples(features.shape[2])]


class _Inverting(nn.Module):
    """Vocos, its inverse STFT as products of real matrices: graphs have no complex numbers."""

    cosines: Tensor
    sines: Tensor
    squares: Tensor

    def __init__(self, vocoder: Vocos) -> None:
        super().__init__()
        self.vocoder, spec = vocoder, vocoder.synthesis.spec
        self.spec, window = spec, vocoder.synthesis.window.double()
        unit = torch.eye(spec.bins, dtype=torch.complex128)
        for name, each in (("cosines", unit), ("sines", 1j * unit)):
            basis = torch.fft.irfft(each, n=spec.n_fft) * window  # (bins, n_fft)
            self.register_buffer(name, basis.float()[:, None])
        self.register_buffer("squares", window.square().float()[None, None])

    def forward(self, features: Tensor) -> Tensor:
        heard = to_log_magnitude(features, self.vocoder.spec)
        real, imaginary = self.vocoder.spectrum_parts(self.vocoder.backbone(heard))  # (B, T, bins)
        laid = self._laid(real.transpose(1, 2), self.cosines) + self._laid(imaginary.transpose(1, 2), self.sines)
        weight = self._laid(torch.ones_like(real[:1, :, :1]).transpose(1, 2), self.squares)
        size = self.spec.samples(features.shape[2])
        return (laid / weight.clamp(min=1e-8))[:, self.spec.pad : self.spec.pad + size]

    def _laid(self, frames: Tensor, basis: Tensor) -> Tensor:
        """(B, C, T) times (C, 1, n_fft), laid over each other at the hop: (B, samples)."""
        return nn.functional.conv_transpose1d(frames, basis, stride=self.spec.hop)[:, 0]


def graph_of(network: nn.Module, spec: FeatureSpec) -> Graph:
    """The graph of a model or a vocoder of such features.

    Raises:
        UserError: it asks for what no graph has: a waveform of its own analysis, a table of voices, or steps that
            depend on the clips.
    """
    if isinstance(network, NeuralVocoder):
        features = (1, network.spec.channels, ("frames", 1))
        network.fuse()
        if isinstance(network, WaveGlow):
            noise = (1, network.groups, ("frames", network.spec.hop // network.groups))
            return Graph(_Flowing(network), {"features": features, "noise": noise}, "waveform")
        module = _Inverting(network) if isinstance(network, Vocos) else _Speaking(network)
        return Graph(module, {"features": features}, "waveform")
    if not isinstance(network, ConversionModel) or network.target != "clips":
        name = getattr(network, "name", "critics")
        raise UserError(f"no graph of {name}: expected a model that takes clips of the target, or a trained vocoder")
    fields = tuple(dict.fromkeys(("features", *network.requires.of_clip)))
    if others := [field for field in fields if field not in (*_PER_CLIP, "embedding")]:
        raise UserError(f"no graph of {network.name}, which asks for the {others[0]} of a clip: take adain_vc or vqvae")
    if isinstance(network, Coder):
        raise UserError(f"no graph of {network.name}, whose steps depend on the clips: take adain_vc or vqvae")
    return Graph(_Conversion(network, fields), _shapes(fields, spec.channels), "features")


def _shapes(fields: tuple[str, ...], size: int) -> dict[str, tuple[Any, ...]]:
    shapes: dict[str, tuple[Any, ...]] = {}
    for side in ("source", "target"):
        length = (f"{side}_frames", 1)
        known = {"features": (1, size, length), "f0": (1, length), "embedding": (1, 256)}
        shapes |= {f"{side}_{field}": known[field] for field in fields}
    return shapes


def left_out(network: nn.Module) -> list[str]:
    """Settings of a vocoder, `name=value`, that its graph does without: it is the network alone."""
    given = {name: getattr(network, name, 0) for name in ("projections", "denoise")}
    return [f"{name}={value}" for name, value in given.items() if value] if isinstance(network, NeuralVocoder) else []


def write_onnx(loaded: Loaded, description: Description, path: Path) -> float:
    """Write a checkpoint as a graph, its description and the numbers of its features.

    Returns:
        How far onnxruntime is from torch on clips of other lengths than it was traced with, relative to the largest
        value.

    Raises:
        UserError: no graph can be made of it, or one that says something else.
    """
    try:
        graph = graph_of(loaded.model, loaded.spec)
        proto = _traced(graph)
    except UserError:
        raise
    except Exception as error:  # the exporter's own are of many kinds, the first of them says what went wrong
        cause = error.__cause__ or error
        raise UserError(f"no graph of {description.model} can be made: {one_line(cause, 160)}") from error
    about = _about(description, graph)
    entry = proto.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(about)
    content = proto.SerializeToString()
    distance = _compare(graph, content)
    if not distance < CLOSE:
        raise UserError(f"the graph of {description.model} is {distance:.1e} off in onnxruntime, expected {CLOSE:.0e}")
    numbers = io.BytesIO()
    np.savez(numbers, allow_pickle=False, **_numbers(loaded.spec))
    with replacing(path.with_suffix(".json")) as beside, replacing(path.with_suffix(".npz")) as features:
        beside.write(f"{json.dumps(about, indent=2)}\n".encode())
        features.write(numbers.getbuffer())
        with replacing(path, sync=True) as file:
            file.write(content)
    return distance


def _about(description: Description, graph: Graph) -> dict[str, Any]:
    """The description, and what the graph takes: numbers, and lengths in multiples of a name."""
    shown = {
        name: [f"{each[1]} * {each[0]}" if isinstance(each, tuple) else each for each in shape]
        for name, shape in graph.shapes.items()
    }
    shortest = {"shortest": _SHORT, "inputs": shown, "output": graph.output}
    return {**description.to_dict(), "onnx": shortest}


def _numbers(spec: FeatureSpec) -> dict[str, np.ndarray]:
    made = extractor(spec)
    return {"window": made.window.numpy(), **({"mel": made.basis.numpy()} if spec.mels else {})}


def _traced(graph: Graph) -> Any:
    example = graph.inputs(dict(zip(_names(graph), _EXAMPLES[0], strict=False)))
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                graph.module.eval(), tuple(example.values()), dynamic_shapes=graph.dimensions(), dynamo=True,
                verbose=False, input_names=list(example), output_names=[graph.output],
            )  # fmt: skip
    finally:
        quiet.setLevel(level)
    assert program is not None
    return program.model_proto


def _names(graph: Graph) -> list[str]:
    """The lengths of a graph, in their order."""
    return list(dict.fromkeys(each[0] for shape in graph.shapes.values() for each in shape if isinstance(each, tuple)))


def _compare(graph: Graph, content: bytes) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for frames in _EXAMPLES:
        inputs = graph.inputs(dict(zip(_names(graph), frames, strict=False)))
        with torch.no_grad():
            expected = graph.module(*inputs.values()).numpy()
        found = session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]
        if found.shape != expected.shape:
            raise UserError(f"the graph gives {list(found.shape)} where torch gives {list(expected.shape)}")
        worst = max(worst, float(np.abs(found - expected).max() / max(1e-8, np.abs(expected).max())))
    return worst
