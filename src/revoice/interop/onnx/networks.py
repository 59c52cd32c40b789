"""Networks that convert nothing: what is said, who speaks, codes of speech, and voices of nobody."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.audio.pitch_network import HIGHEST, LOWEST
from revoice.audio.spec import FeatureSpec
from revoice.interop.onnx.graph import LONGEST, SHORTEST, Graph
from revoice.interop.onnx.hearing import traceable
from revoice.interop.onnx.pitch import search_graph
from revoice.models.phones import PhoneTeacher, Recognizer
from revoice.models.pitch import Pitch
from revoice.models.voicegan import VoiceGAN
from revoice.models.voiceprint import HOP_SHARE, Voiceprint
from revoice.models.whisper import Whisper
from revoice.models.zerospeech import ZeroSpeech
from revoice.nn.whisper import POSITIONS


class _Asked(nn.Module):
    """A network, asked by one function of its own."""

    def __init__(self, network: Any, ask: Callable[..., Tensor]) -> None:
        super().__init__()
        self.network, self.ask = network, ask

    def forward(self, features: Tensor) -> Tensor:
        return self.ask(self.network, features)


class _Identity(nn.Module):
    """`Voiceprint.embed` of clips from one partial utterance on."""

    def __init__(self, network: Voiceprint) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """(1, F, T) -> (1, D) of length 1."""
        size, frames = self.network.requires.crop, features.shape[2]
        step = size // HOP_SHARE
        count = (frames - size) // step + 1
        first = torch.cat([torch.arange(count) * step, torch.full((1,), frames - size)])  # the last one ends with it
        partials = features[0][:, first[:, None] + torch.arange(size)].transpose(0, 1)  # (N, F, size)
        new = first[1:] > first[:-1]  # which it may have done already
        counted = torch.cat([torch.ones(1), new.float()])
        return F.normalize((self.network(partials) * counted[:, None]).sum(0, keepdim=True), dim=1)


def network_graph(network: nn.Module, spec: FeatureSpec) -> Graph | None:
    """The graph of such a network; None: it is none of them."""
    if isinstance(network, VoiceGAN):
        shapes: dict[str, tuple[Any, ...]] = {"noise": (1, network.noise), "gender": (1,)}
        return Graph(network, shapes, "embedding", integers={"gender": 2}, facts={"genders": ["female", "male"]})
    features = {"features": (1, spec.channels, ("frames", 1))}
    if isinstance(network, Recognizer):
        whole = network.requires.crop // 2 * 2 if isinstance(network, PhoneTeacher) else LONGEST
        module = _Asked(network, lambda phones, x: phones.log_probs(x))
        facts = {"classes": ["", *network.inventory], "every": 2}
        return Graph(module, features, "log_probs", longest=whole, shortest=min(SHORTEST, whole // 4), facts=facts)
    if isinstance(network, Voiceprint):
        truth = _Asked(network, lambda judge, x: judge.embed(x[0])[None])
        return Graph(_Identity(network), features, "embedding", truth, shortest=network.requires.crop)
    if isinstance(network, Pitch):
        return search_graph(network.network, spec, LOWEST, HIGHEST)
    if isinstance(network, Whisper):
        return Graph(network, features, "content", longest=2 * POSITIONS)
    if isinstance(network, ZeroSpeech):
        module, truth = (_Asked(each, lambda coder, x: coder(x).values) for each in (traceable(network), network))
        return Graph(module, features, "codes", truth)
    return None
