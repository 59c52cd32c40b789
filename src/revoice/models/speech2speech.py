"""The VQ-VAE of speech2speech (github.com/bithikajain/speech2speech, MIT), on linear or dB spectrograms."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.data.read.batch import Batch
from revoice.models.base import MODELS, ConversionModel, Requires, Sampler, require_frames
from revoice.nn.collective import processes, summed
from revoice.nn.precision import finest
from revoice.nn.quantizer import Quantized, Quantizer, QuantizerSize
from revoice.nn.voice_code import VoiceCode, VoiceKind
from revoice.settings import Depth, Flag, Frames, Natural, Width


class ResidualStack(nn.Module):
    """ReLU, convolution, ReLU, 1x1 convolution, added to the *rectified* input (the published ReLU works in place)."""

    def __init__(self, channels: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.wide = nn.ModuleList(nn.Conv1d(channels, hidden, 3, padding=1, bias=False) for _ in range(layers))
        self.narrow = nn.ModuleList(nn.Conv1d(hidden, channels, 1, bias=False) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T), rectified."""
        for wide, narrow in zip(self.wide, self.narrow, strict=True):
            x = F.relu(x)
            x = x + narrow(F.relu(wide(x)))
        return F.relu(x)


class Encoder(nn.Module):
    """(B, F, T) -> (B, D, L): L is T // 2 + 1 with stride 2, T + 1 with stride 1."""

    def __init__(self, n_features: int, out: int, channels: int, hidden: int, layers: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(n_features, channels, 3, padding=1)
        self.conv2 = nn.Conv1d(channels, channels, 3, padding=1)
        self.conv3 = nn.Conv1d(channels, channels, 4, stride, padding=2)
        self.conv4 = nn.Conv1d(channels, channels, 3, padding=1)
        self.conv5 = nn.Conv1d(channels, channels, 3, padding=1)
        self.residual = ResidualStack(channels, hidden, layers)
        self.out = nn.Conv1d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F, T) -> what is quantized (B, D, L)."""
        h = F.relu(self.conv1(x))
        h = F.relu(self.conv2(h)) + h
        h = F.relu(self.conv3(h))
        for conv in (self.conv4, self.conv5):
            h = F.relu(conv(h)) + h
        return self.out(self.residual(h) + h)


class Decoder(nn.Module):
    """(B, D, L) with a voice (B, V) in front of it -> (B, F, 2 L - 2)."""

    def __init__(self, n_features: int, dim: int, channels: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(dim, channels, 3, padding=1)
        self.residual = ResidualStack(channels, hidden, layers)
        self.transposed1 = nn.ConvTranspose1d(channels, channels, 3, padding=1)
        self.transposed2 = nn.ConvTranspose1d(channels, channels, 3, padding=0)
        self.transposed3 = nn.ConvTranspose1d(channels, n_features, 3, padding=3)

    def forward(self, values: Tensor, voice: Tensor) -> Tensor:
        """Values (B, D, L) in a voice (B, V) -> features (B, F, 2 L - 2)."""
        said_by = voice[:, :, None].expand(-1, -1, values.shape[-1])
        h = F.interpolate(self.conv1(torch.cat([said_by, values], dim=1)), scale_factor=2.0)
        h = F.relu(self.transposed1(self.residual(h)))
        return self.transposed3(F.relu(self.transposed2(h)))


@MODELS.register("speech2speech")
class Speech2Speech(ConversionModel):
    """The published network, with the stride its comments promise, or, by `legacy`, the one it has.

    The published encoder's third convolution has stride 1 while the decoder doubles the length and cuts it: the second
    half of every utterance is never decoded, and time runs at half speed. `legacy` keeps that.

    Losses: mean squared error divided by the standard deviation of the batch (of all processes together); codebook,
    commitment, perplexity.

    Args:
        n_features: spectrogram bins F.
        n_speakers: training speakers, for `voice="speaker"`.
        channels, residual_channels, residual_layers: as published 768, 32, 2.
        quantizer: `QuantizerSize` settings.
        voice: "speaker" (published: a table) or "embedding" (any voice).  voice_dim: of its code.
        legacy: keep the published stride of 1.
        frames: training crop.
        sampler: "uniform" over utterances or "by_speaker".
    """

    def __init__(
        self,
        n_features: Width,
        n_speakers: Natural | None = None,
        *,
        channels: Width = 768,
        residual_channels: Width = 32,
        residual_layers: Depth = 2,
        quantizer: QuantizerSize | None = None,
        voice: VoiceKind = "speaker",
        voice_dim: Width = 20,
        legacy: Flag = False,
        frames: Frames = 100,
        sampler: Sampler = "uniform",
    ) -> None:
        super().__init__()
        codes = quantizer or QuantizerSize()
        require_frames(4, frames=frames)
        self.stride = 1 if legacy else 2
        self.voice = VoiceCode(voice, voice_dim, n_speakers)
        self.target = "speaker" if voice == "speaker" else "clips"
        self.requires = Requires(fields=("features", *self.voice.fields), frames=frames, minimum=4, sampler=sampler)
        sizes = (channels, residual_channels, residual_layers)
        self.encoder = Encoder(n_features, codes.dim, *sizes, stride=self.stride)
        self.quantizer = Quantizer(codes)
        self.decoder = Decoder(n_features, voice_dim + codes.dim, *sizes)

    def encode(self, x: Tensor, batch: Batch | None = None) -> Quantized:
        """Features (B, F, T) -> codes; the codebook learns from a training batch."""
        return self.quantizer(self.encoder(self._whole(x)), None if batch is None else batch.draws)

    def _whole(self, x: Tensor) -> Tensor:
        """Features (B, F, T) up to a multiple of the stride, the last frame held: of dB, zeros are no silence."""
        frames = x.shape[-1]
        if not torch.compiler.is_exporting() and frames % self.stride == 0:  # a graph takes any length
            return x
        whole = F.pad(x, (0, frames % self.stride))
        lasts = torch.arange(whole.shape[-1], device=x.device) >= frames
        return torch.where(lasts, x[..., -1:], whole)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Reconstruction, codebook, commitment, perplexity; padding counts as silence, as published."""
        x = batch.features
        codes = self.encode(x, batch)
        y = self.decoder(codes.values, self.voice(getattr(batch, self.voice.kind)))[..., : x.shape[-1]]
        with torch.autocast(x.device.type, enabled=False):
            return {
                "reconstruction": F.mse_loss(y.float(), x) / batch_deviation(x),
                "codebook": codes.codebook, "commitment": codes.commitment, "perplexity": codes.perplexity,
            }  # fmt: skip

    @torch.no_grad()
    def convert(self, source: Batch, targets: list[Batch], controls: Any) -> Tensor:
        """Features (B, F, T) of the sources' codes in the target's voice."""
        frames = source.features.shape[-1]
        short = max(0, 4 - frames)
        x = F.pad(source.features, (0, short), mode="replicate") if short else source.features
        voice = self.voice.of([getattr(clip, self.voice.kind) for clip in targets])
        return self.decoder(self.encode(x).values, voice.expand(len(x), -1))[..., :frames]


def batch_deviation(x: Tensor) -> Tensor:
    """Standard deviation (of the population) of all values of all processes, a scalar."""
    variance, mean = torch.var_mean(x.detach().to(finest(x.device)), correction=0)
    if processes() > 1:  # which have equally many values
        whole = summed(mean) / processes()
        variance = summed(variance + (mean - whole).square()) / processes()
    return variance.sqrt().float()
