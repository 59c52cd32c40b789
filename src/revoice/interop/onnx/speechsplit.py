"""SpeechSplit as two graphs: G, each of whose inputs is an aspect of speech, and P beside it, which retimes pitch.

Which clip an aspect is taken from is a matter of what is fed. Pitch goes in as the classes of `nn.pitch_classes`; what
they are told in, and aligning two clips frame by frame (`timing=aligned`), is the program's part.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.interop.onnx.graph import Graph
from revoice.interop.onnx.hearing import longest_of, traceable
from revoice.models.speechsplit.model import SpeechSplit
from revoice.nn.pitch_classes import LEAST, REACH, STEPS, one_hot
from revoice.nn.speech_codes import SpeechCodes


class _Speaking(nn.Module):
    """G with its encoders, as `Swap` uses it."""

    def __init__(self, model: SpeechSplit) -> None:
        super().__init__()
        self.model = model

    def forward(self, content: Tensor, pitch: Tensor, rhythm: Tensor, voice: Tensor) -> Tensor:
        """What is heard (1, F, T), or its waveform, classes (1, T), a mel (1, F, N) and who speaks -> (1, F, N)."""
        heard = content if self.model.content is not None else content.clamp(0, 1)
        told = F.normalize(voice, dim=1) if self.model.voice == "embedding" else _row(voice, self.model.width)
        return self.model.speak(encoded(self.model, heard, pitch, rhythm.clamp(0, 1)), told).clamp(0, 1)


class _Retiming(nn.Module):
    """P."""

    def __init__(self, model: SpeechSplit) -> None:
        super().__init__()
        self.model = model

    def forward(self, rhythm: Tensor, pitch: Tensor) -> Tensor:
        """A mel (1, F, N) and classes (1, T) -> logits (1, 257, N) of the same contour in the mel's timing."""
        model, frames = self.model, rhythm.shape[2]
        both = torch.sym_max(pitch.shape[1], frames)
        mel, found = _filled(model, rhythm.clamp(0, 1), both), one_hot(_filled(model, pitch, both))
        logits: Tensor = model.converter(mel, found)
        return logits[:, :, :frames]


def encoded(model: SpeechSplit, content: Tensor, pitch: Tensor, rhythm: Tensor) -> SpeechCodes:
    """The codes of a mel (1, F, T) or, where a recognizer hears, a waveform; classes (1, T) and a mel (1, F, N)."""
    frames = rhythm.shape[2]
    both = torch.sym_max(pitch.shape[1], frames)
    heard = content if model.content is None else model.heard(content, pitch.shape[1])
    return model.generator.encode(
        _filled(model, heard, both), one_hot(_filled(model, pitch, both)), _filled(model, rhythm, both), frames=frames
    )  # fmt: skip


def speechsplit_graph(model: SpeechSplit, spec: FeatureSpec) -> Graph:
    """The graph of G, beside it that of P where it was trained.

    Raises:
        UserError: G was not.
    """
    if model.untrained == "generator":
        raise UserError("no graph of speechsplit without its generator: import a folder with both published files")
    found = traceable(model)
    rhythm, classes = (1, spec.channels, ("rhythm_frames", 1)), {"pitch": STEPS + 1}
    shapes: dict[str, tuple[Any, ...]] = {"content_features": (1, spec.channels, ("content_frames", 1))}
    if model.content is not None:
        shapes = {"content_waveform": (1, ("content_frames", spec.hop))}
    table = {} if model.voice == "embedding" else {"voice_speaker": model.width}
    voice = {"voice_speaker": (1,)} if table else {"voice_embedding": (1, 256)}
    shapes |= {"pitch": (1, ("content_frames", 1)), "rhythm_features": rhythm, **voice}
    retiming = Graph(
        _Retiming(found), {"rhythm_features": rhythm, "pitch": (1, ("pitch_frames", 1))}, "logits", _Retiming(model),
        integers=classes,
    )  # fmt: skip
    return Graph(
        _Speaking(found), shapes, "features", _Speaking(model), longest=longest_of(model), integers=classes | table,
        facts={"contour": contour_of(model)}, beside={} if model.untrained else {"pitch": retiming},
    )  # fmt: skip


def contour_of(model: SpeechSplit) -> dict[str, Any]:
    """What classes of pitch are told in: mean and deviation of log-f0, see `nn.pitch_classes`."""
    corpus = [round(value, 6) for value in model.corpus_statistics.tolist()]
    told: dict[str, Any] = {"relative": model.relative, "corpus": corpus, "reach": REACH, "least": LEAST}
    if model.voice == "speaker":
        rows = model.speaker_statistics.tolist()
        told["speakers"] = [[round(value, 6) for value in row] if row[1] >= 0 else None for row in rows]
    return told


def _filled(model: SpeechSplit, x: Tensor, frames: Any) -> Tensor:
    return model.fill(F.pad(x, (0, frames - x.shape[-1])))


def _row(place: Tensor, width: int) -> Tensor:
    return (place[:, None] == torch.arange(width)).float()
