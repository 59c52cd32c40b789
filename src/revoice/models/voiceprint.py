"""A small speaker verifier: a second judge of whose voice it is, trained here, independent of Resemblyzer.

Depthwise-separable convolutions, attentive statistics pooling (Okabe et al., Interspeech 2018) and the additive angular
margin loss over the training speakers (Deng et al., CVPR 2019). It does not convert.
"""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from revoice.audio.features import FeatureExtractor
from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch
from revoice.models.base import MODELS, Requires, Standardizer, Trainable
from revoice.nn.convnext import ConvNeXtBlock
from revoice.nn.microphone import recorded
from revoice.settings import Depth, Frames, Natural, NotNegative, Number, OddKernel, Width

HOP_SHARE = 2  # partial utterances overlap by half


@MODELS.register("voiceprint")
class Voiceprint(Trainable):
    """Log-mels -> a unit vector that says who speaks.

    In training every crop passes another microphone, room noise or telephone line (`nn.microphone`), so that a
    recording's channel, which in small corpora is as good as a name, does not tell the speaker.

    Args:
        n_features: mels F.
        n_speakers: training speakers, rows of the classifier.
        embedding: D.
        channels, hidden, blocks, kernel: of the ConvNeXt blocks.
        margin: radians that the true speaker has to be nearer by.
        scale: of the cosines, as logits.
        frames: of a crop, and of the partial utterances that `embed` averages over.
    """

    preset = "whisper_16k"
    static = False
    may_change = ("margin", "scale")
    measured = ("named",)

    def __init__(
        self,
        n_features: Width = 80,
        n_speakers: Natural | None = None,
        embedding: Width = 128,
        channels: Width = 128,
        hidden: Width = 256,
        blocks: Depth = 5,
        kernel: OddKernel = 7,
        margin: Annotated[Number, Field(ge=0, le=1)] = 0.2,
        scale: NotNegative = 30.0,
        frames: Frames = 160,
    ) -> None:
        super().__init__()
        self.requires = Requires(
            fields=("features", "waveform"), frames=frames, minimum=min(frames, 80), sampler="by_speaker"
        )
        self.margin, self.scale = margin, scale
        self.standardize = Standardizer(n_features)
        self.stem = nn.Conv1d(n_features, channels, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(channels, hidden, kernel, dilation=(1, 2, 4)[number % 3]) for number in range(blocks)
        )
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.Sequential(nn.Linear(channels, 64), nn.Tanh(), nn.Linear(64, channels))
        self.out = nn.Linear(2 * channels, embedding)
        self.speakers = nn.Parameter(torch.randn(n_speakers or 1, embedding) / math.sqrt(embedding))
        self.spec: FeatureSpec | None = None
        self._extractor: list[FeatureExtractor] = []  # no part of the checkpoint

    def set_features(self, spec: FeatureSpec) -> None:
        """In training, features are computed of the changed waveform."""
        self.spec, self._extractor = spec, [FeatureExtractor(spec)]

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """z-score log-mels with these statistics (F,)."""
        self.standardize.set(mean, std)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Crops (B, F, T) -> (B, D) of length 1; the mean spectrum, which a microphone decides, is taken out."""
        x = self.standardize(log_mel)
        x = self.stem(x - x.mean(-1, keepdim=True))
        for block in self.blocks:
            x = block(x)
        x = self.norm(x.transpose(1, 2))
        weight = self.attention(x).float().softmax(1)  # (B, T, C)
        x = x.float()
        mean = (weight * x).sum(1)
        spread = (weight * (x - mean[:, None]).square()).sum(1).clamp(min=1e-6).sqrt()
        return F.normalize(self.out(torch.cat([mean, spread], 1)).float(), dim=-1)

    @torch.no_grad()
    def embed(self, log_mel: Tensor) -> Tensor:
        """One clip (F, T) -> (D,) of length 1: the mean over partial utterances; a short clip is repeated."""
        frames = self.requires.frames
        assert frames is not None
        if log_mel.shape[1] < frames:
            log_mel = log_mel.repeat(1, -(-frames // log_mel.shape[1]))[:, :frames]
        step = frames // HOP_SHARE
        partials = log_mel.unfold(1, frames, step).transpose(0, 1)
        if (log_mel.shape[1] - frames) % step:
            partials = torch.cat([partials, log_mel[None, :, -frames:]])
        return F.normalize(self(partials).mean(0), dim=0)

    def speaker_codes(self, features: Tensor) -> Tensor:
        """Embeddings (B, D) of clips (B, F, T) for the speaker map."""
        return torch.stack([self.embed(clip) for clip in features])

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """margin: cross-entropy of the speaker, the true one's angle widened by the margin; items of nobody count 0."""
        cosines, known = self._cosines(batch), self._known(batch)
        angle = torch.acos(cosines.clamp(-1 + 1e-6, 1 - 1e-6))
        truth = self._labels(batch)[:, None] == torch.arange(cosines.shape[1], device=cosines.device)
        widened = torch.cos((angle + self.margin).clamp(max=math.pi))
        logits = self.scale * torch.where(truth, widened, cosines)
        loss = F.cross_entropy(logits, self._labels(batch), reduction="none")
        return {"margin": (loss * known).sum() / known.sum().clamp(min=1)}

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        """named: share of the crops whose speaker is the nearest."""
        known = self._known(batch)
        right = (self._cosines(batch).argmax(1) == self._labels(batch)) * known
        return {"named": right.sum() / known.sum().clamp(min=1)}

    def _cosines(self, batch: Batch) -> Tensor:
        """(B, speakers) in float32: in bfloat16 what is near 1 is 1, where the angle has no gradient."""
        found = self(self._features(batch))
        with torch.autocast(found.device.type, enabled=False):
            return found @ F.normalize(self.speakers.float(), dim=-1).T

    def _features(self, batch: Batch) -> Tensor:
        if batch.draws is None or batch.waveform is None or self.spec is None:
            return batch.features
        heard = recorded(batch.waveform, self.spec.sample_rate, batch.draws)
        extractor = self._extractor[0] = self._extractor[0].to(heard.device)
        return extractor(heard)

    def _labels(self, batch: Batch) -> Tensor:
        assert batch.speaker is not None
        return batch.speaker.clamp(0, len(self.speakers) - 1)

    @staticmethod
    def _known(batch: Batch) -> Tensor:
        assert batch.speaker is not None
        return (batch.speaker >= 0).float()
