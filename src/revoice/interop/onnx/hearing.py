"""Waveforms inside of graphs: no complex numbers, no tables that are looked up, and steps that know no length."""

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn

from revoice.audio.features import extractor
from revoice.audio.presets import load_preset
from revoice.audio.scale import to_scale
from revoice.audio.speaker import (
    COVERAGE,
    ENCODER_SPEC,
    PARTIAL,
    SAMPLE_RATE,
    STEP,
    TARGET_DB,
    speaker_encoder,
    unit,
)
from revoice.audio.spec import FeatureSpec
from revoice.interop.onnx.graph import LONGEST, Graph
from revoice.interop.onnx.recurrent import Recurrent
from revoice.nn.content import PRESET, RecognizedContent
from revoice.nn.quantizer import Quantized, Quantizer
from revoice.nn.remel import interpolated
from revoice.nn.whisper import POSITIONS, RATE, WhisperEncoder

M = TypeVar("M", bound=nn.Module)


class Resampling(nn.Module):
    """`torchaudio.functional.resample` as a convolution with a stride."""

    kernel: Tensor

    def __init__(self, rate: int, wanted: int) -> None:
        super().__init__()
        made = torchaudio.transforms.Resample(rate, wanted)
        self.same = rate == wanted
        self.old, self.new = rate // made.gcd, wanted // made.gcd
        self.width = 0 if self.same else made.width
        self.register_buffer("kernel", torch.zeros(0) if self.same else made.kernel)

    def forward(self, waveform: Tensor) -> Tensor:
        """(1, S) -> (1, S new / old), rounded up."""
        if self.same:
            return waveform
        size = (waveform.shape[1] * self.new + self.old - 1) // self.old
        whole = F.pad(waveform[:, None], (self.width, self.width + self.old))
        made = F.conv1d(whole, self.kernel, stride=self.old)  # (1, new, blocks)
        return made.transpose(1, 2).reshape(1, -1)[:, torch.arange(size)]  # a slice could be shorter, an index not


class Spectrogram(nn.Module):
    """`FeatureExtractor` with its transform as a convolution; for features of magnitudes or powers alone.

    >>> Spectrogram(load_preset("whisper_16k"))(torch.zeros(1, 1600)).shape
    torch.Size([1, 80, 11])
    """

    basis: Tensor
    mel: Tensor

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.spec, made = spec, extractor(spec)
        turns = torch.fft.rfft(torch.eye(spec.n_fft, dtype=torch.float64)) * made.window[:, None]  # (n_fft, bins)
        self.register_buffer("basis", torch.cat([turns.real, turns.imag], dim=1).T.float()[:, None].contiguous())
        self.register_buffer("mel", made.basis.clone())

    def forward(self, waveform: Tensor) -> Tensor:
        """(1, S) -> (1, F, T)."""
        spec = self.spec
        if spec.pad_mode == "reflect":
            last = waveform.shape[1] - 1
            place = torch.arange(-spec.pad, last + 1 + spec.pad).abs()
            whole = waveform[:, last - (last - place).abs()]
        else:
            whole = F.pad(waveform, (spec.pad, spec.pad))
        parts = F.conv1d(whole[:, None], self.basis, stride=spec.hop)
        real, imaginary = parts.transpose(1, 2).split(spec.bins, dim=2)  # (1, T, bins)
        return to_scale((real.square() + imaginary.square()) @ self.mel, spec).transpose(1, 2)


class Listening(nn.Module):
    """`RecognizedContent` of one waveform."""

    def __init__(self, content: RecognizedContent) -> None:
        super().__init__()
        spec = load_preset(PRESET)
        self.encoder, self.channels = content.encoder, content.channels
        self.resampled, self.log_mel = Resampling(content.sample_rate, spec.sample_rate), Spectrogram(spec)
        self.per_frame = RATE * content.hop / content.sample_rate

    def forward(self, waveform: Tensor, frames: int) -> Tensor:
        """(1, S) -> (1, D, frames)."""
        steps = self.encoder(self.log_mel(self.resampled(waveform))).transpose(1, 2)
        return interpolated(steps, frames, self.per_frame)


class Coding(nn.Module):
    """A `Quantizer` that learns nothing and counts nothing, of one clip."""

    books: Tensor

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        size, self.cosine = quantizer.size, quantizer.size.metric == "cosine"
        books = quantizer.codebook.detach().view(size.groups, size.codebook_size, -1)
        self.register_buffer("books", F.normalize(books, dim=2) if self.cosine else books)  # (G, K, D / G)

    def forward(self, z: Tensor, draws: None = None) -> Quantized:
        """(1, D, T) -> codes (1, T, G) and their vectors (1, D, T); no losses."""
        groups, _, width = self.books.shape
        vectors = z[0].unflatten(0, (groups, width)).transpose(1, 2)  # (G, T, D / G)
        if self.cosine:
            vectors = F.normalize(vectors, dim=2)
        distance = self.books.square().sum(2)[:, None] - 2 * vectors @ self.books.transpose(1, 2)  # (G, T, K)
        codes = distance.argmin(2)
        values = self.books[torch.arange(groups)[:, None], codes].transpose(1, 2).flatten(0, 1)
        nothing = z.new_zeros(())
        return Quantized(codes.T[None], values[None], nothing, nothing, nothing)


def longest_of(model: nn.Module) -> int:
    """How many frames fit into one window of every encoder that a model hears by: a graph cannot join several."""
    heard = [each for each in model.modules() if isinstance(each, RecognizedContent)]
    whisper = [each for each in heard if isinstance(each.encoder, WhisperEncoder)]
    return min([LONGEST, *(int(POSITIONS / RATE * each.sample_rate / each.hop) for each in whisper)])


def traceable(model: M) -> M:
    """A copy of a model, of whose ears, codebooks and LSTMs graphs can be made."""
    found = copy.deepcopy(model)
    for module in list(found.modules()):
        for name, child in module.named_children():
            if isinstance(child, RecognizedContent):
                setattr(module, name, Listening(child))
            elif isinstance(child, Quantizer):
                setattr(module, name, Coding(child))
            elif isinstance(child, nn.LSTM):
                setattr(module, name, Recurrent(child))
    return found


class Identity(nn.Module):
    """Resemblyzer's embedding of a waveform from which somebody dropped the silences."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.resampled, self.mel = Resampling(rate, SAMPLE_RATE), Spectrogram(ENCODER_SPEC)
        self.encoder = speaker_encoder()

    def forward(self, waveform: Tensor) -> Tensor:
        """(1, S), a second at least -> (1, 256) of length 1."""
        heard, hop = self.resampled(waveform), ENCODER_SPEC.hop
        level = heard.square().mean().sqrt().clamp(min=1e-8)
        heard = heard * (10 ** (TARGET_DB / 20) / level).clamp(min=1.0)
        size = heard.shape[1]
        mels = self.mel(F.pad(heard, (0, PARTIAL * hop)))[0].T
        first = torch.arange(size // hop // STEP + 1) * STEP
        partials = mels[first[:, None] + torch.arange(PARTIAL)]  # (N, 160, 40)
        # a partial that is mostly silence behind the end does not count, unless it is the only one
        counted = (first == 0) | (first * hop <= size - int(COVERAGE * PARTIAL * hop))
        steps, _ = self.encoder.lstm(partials)  # (N, 160, 256), of which the last step tells
        embedded = unit(torch.relu(self.encoder.linear(steps[:, -1])))
        return unit((embedded * counted[:, None]).sum(0, keepdim=True))


def identity_graph(rate: int) -> Graph:
    """The graph of `Identity` for waveforms of a sample rate, Hz, of one second at least."""
    made, shapes = Identity(rate), {"waveform": (1, ("samples", 1))}
    return Graph(traceable(made), shapes, "embedding", truth=made, shortest=rate, longest=600 * rate)
