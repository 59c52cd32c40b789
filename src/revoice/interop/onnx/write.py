"""A checkpoint as a graph, and beside it what a program without torch needs to feed it.

Beside `NAME.onnx` lie `NAME.json`, the description of the checkpoint with the graph's inputs, and `NAME.npz`, the
analysis window (n_fft,) and the mel filters (n_fft / 2 + 1, F) as numbers; where speaker embeddings are asked for also
`NAME.embedding.onnx`, which makes them of waveforms; where contours of pitch are, `NAME.f0.onnx`, which finds them; and
of SpeechSplit `NAME.pitch.onnx`, its pitch converter.
docs/vocoders.md has the steps in words.
"""

import io
import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from revoice.atomic import replacing
from revoice.audio.features import extractor
from revoice.audio.pitch_network import pitch_network
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import KEY, Description
from revoice.checkpoint.load import Loaded
from revoice.errors import UserError, one_line
from revoice.interop.onnx.codegan import codegan_graph
from revoice.interop.onnx.graph import Graph
from revoice.interop.onnx.hearing import identity_graph
from revoice.interop.onnx.models import model_graph
from revoice.interop.onnx.networks import network_graph
from revoice.interop.onnx.pitch import search_graph
from revoice.interop.onnx.pix2pix import pix2pix_graph
from revoice.interop.onnx.speechsplit import speechsplit_graph
from revoice.interop.onnx.vocoders import vocoder_graph
from revoice.models.base import ConversionModel
from revoice.models.codegan.model import CodeGAN
from revoice.models.pix2pix.model import Pix2Pix
from revoice.models.speechsplit.model import SpeechSplit
from revoice.vocoders.neural import NeuralVocoder

CLOSE = 1e-4  # how near onnxruntime has to come, relative to the largest value
LARGEST = 2 << 30  # bytes of a message of protobuf, which a graph is
OUTSIDE = {
    "random_cnn": "which searches for every clip anew",
    "anonymizer": "which is no network, but signal processing",
}
INSTEAD = "take another model or a trained vocoder"


def graph_of(network: nn.Module, spec: FeatureSpec) -> Graph:
    """The graph of a model or a vocoder of such features, and those beside it.

    Raises:
        UserError: there is none.
    """
    graph = _graph_of(network, spec)
    if any(name.endswith("_f0") for name in graph.shapes):
        graph = replace(graph, beside={"f0": search_graph(pitch_network(), spec), **graph.beside})
    if any(name.endswith("_embedding") for name in graph.shapes):
        graph = replace(graph, beside={"embedding": identity_graph(spec.sample_rate), **graph.beside})
    return graph


def _graph_of(network: nn.Module, spec: FeatureSpec) -> Graph:
    if isinstance(network, NeuralVocoder):
        return vocoder_graph(network)
    if isinstance(network, SpeechSplit):
        return speechsplit_graph(network, spec)
    if isinstance(network, CodeGAN):
        return codegan_graph(network, spec)
    if isinstance(network, Pix2Pix):
        return pix2pix_graph(network, spec)
    found = network_graph(network, spec)
    if found is not None:
        return found
    name = getattr(network, "name", "critics")
    if name in OUTSIDE or not isinstance(network, ConversionModel):
        raise UserError(f"no graph of {name}, {OUTSIDE.get(name, 'which is no network that is exported')}: {INSTEAD}")
    return model_graph(network, spec)


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
    size = sum(value.nbytes for value in loaded.model.state_dict().values())
    if size >= LARGEST:
        raise UserError(
            f"no graph of {description.model} with {size / 2**30:.1f} GiB of weights: an .onnx file holds less than 2; "
            "name a .safetensors file"
        )
    try:
        graph = graph_of(loaded.model, loaded.spec)
        graphs = [graph, *graph.beside.values()]
        protos = [each.traced() for each in graphs]
    except UserError:
        raise
    except Exception as error:  # the exporter's own are of many kinds, the first of them says what went wrong
        cause = error.__cause__ or error
        raise UserError(f"no graph of {description.model} can be made: {one_line(cause, 160)}") from error
    about = {**description.to_dict(), "onnx": graph.about()}
    places = [path, *(path.with_suffix(f".{name}.onnx") for name in graph.beside)]
    for name, each, place in zip(graph.beside, graphs[1:], places[1:], strict=True):
        about["onnx"][name] = {"graph": place.name, **each.about()}
    entry = protos[0].metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(about)
    contents = [proto.SerializeToString() for proto in protos]
    distance = max(each.distance(content) for each, content in zip(graphs, contents, strict=True))
    if not distance < CLOSE:
        raise UserError(f"the graph of {description.model} is {distance:.1e} off in onnxruntime, expected {CLOSE:.0e}")
    numbers = io.BytesIO()
    np.savez(numbers, allow_pickle=False, **_numbers(loaded.spec))
    described = f"{json.dumps(about, indent=2)}\n".encode()
    written = {path.with_suffix(".json"): described, path.with_suffix(".npz"): numbers.getvalue()}
    written |= dict(reversed(list(zip(places, contents, strict=True))))  # the graph itself last
    with ExitStack() as stack:
        for place, content in written.items():
            stack.enter_context(replacing(place, sync=place == path)).write(content)
    return distance


def _numbers(spec: FeatureSpec) -> dict[str, np.ndarray]:
    made = extractor(spec)
    return {"window": made.window.numpy(), **({"mel": made.basis.numpy()} if spec.mels else {})}
