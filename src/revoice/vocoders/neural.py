"""What all vocoders that learn share: what they hear, and how far what they say is from it."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from revoice.audio.features import FeatureExtractor
from revoice.audio.spec import FeatureSpec
from revoice.audio.stft import Stft
from revoice.data.read.batch import Batch, Requires
from revoice.errors import UserError
from revoice.nn.convnext import ConvNeXtBlock, TableNorm
from revoice.nn.spectral import RESOLUTIONS, mel_l1, stft_distance
from revoice.settings import Flag, Frames, Natural, NotNegative
from revoice.trainable import MODEL, Play
from revoice.vocoders.base import Vocoder
from revoice.vocoders.projection import project

LEARNED = ((512, 128, 512), (1024, 256, 1024), (2048, 512, 2048))  # half the work of the published resolutions
_LOUDER = 0.5  # dB more than the recording for each dB that it may be quieter
_EPS = 1e-6  # of every normalization of Vocos, as published
_PEAK = 0.999  # what is made louder stays below
Projections = Annotated[Natural, Field(le=1000)]


class NeuralVocoder(Vocoder):
    """Base of vocoders that are trained: on segments of recordings, and features made of those segments on the spot.

    Its losses are `mel`, the mean absolute difference of the features, and `stft`, the multi-resolution STFT distance
    (0 in the published recipes); critics judge the waveforms (B, S).

    Args:
        spec: the features.
        frames: of a segment.
        gain_db: segments are made quieter by up to so much, or louder by up to half of it, at random.
        projections: how often what is said is brought nearer to the features (`project`), which costs an STFT and its
            inverse; 0 is the network alone, as published. Not in training.
        generated: whether it hears what a model made of the recordings (`data.generated_by`), at their own levels.
    """

    trained = True
    may_change: ClassVar[tuple[str, ...]] = ("frames", "gain_db", "projections", "generated")
    speaking: ClassVar[tuple[str, ...]] = ("projections", "bf16")  # what may be set anew when it speaks
    bf16 = False  # whether the network speaks in bfloat16, which takes half the time where the processor has it

    def __init__(
        self, spec: FeatureSpec, frames: Frames, gain_db: NotNegative, projections: Projections, generated: Flag
    ) -> None:
        super().__init__(spec)
        self.stft = Stft(spec)
        self.set_projections(projections)
        self.gain_db = 0.0 if generated else gain_db
        fields = ("features", "waveform", *(["generated"] if generated else []))
        self.requires = Requires(fields=fields, frames=frames, minimum=frames)
        self.extractor = FeatureExtractor(spec)

    def set_speaking(self, values: Mapping[str, Any]) -> None:
        """Speak in another way from now on: settings by name, of those in `speaking`."""
        for name, value in values.items():
            if name not in self.speaking:
                raise UserError(f"vocoder.{name}={value}: {self.name} has no such setting: leave it out")
            if name == "projections":
                self.set_projections(value)
            else:
                setattr(self, name, value)
        self.settings |= dict(values)

    def set_projections(self, times: int) -> None:
        """Speak with so many projections from now on."""
        if times and (self.spec.phase or self.spec.peak or self.spec.highpass):
            raise UserError(
                f"vocoder.projections={times}: expected 0 for features with phases or of a changed waveform"
            )
        self.projections = times

    def speak(self, features: Tensor, f0: Tensor | None = None) -> Tensor:
        """What the network says: un-standardized features (B, F, T) -> waveform (B, spec.samples(T)).

        `f0` (B, T) is their pitch in Hz, 0 where unvoiced, if it is known; most networks do not ask.
        """
        raise NotImplementedError

    def said(self, batch: Batch, features: Tensor) -> Tensor:
        """What the network says of features (B, F, T) that belong to a batch of segments -> (B, S)."""
        return self.speak(features)

    def forward(self, features: Tensor, f0: Tensor | None = None, like: Tensor | None = None) -> Tensor:
        """What it says, brought nearer to the features; `like` is not asked for."""
        if self.spec.samples(features.shape[2]) < 1:
            return features.new_zeros(len(features), 0)
        with torch.autocast(features.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            said = self.speak(features, f0)
        said = said.float() if said.dtype == torch.bfloat16 else said
        if not self.projections:
            return said
        with torch.autocast(said.device.type, enabled=False):
            return project(said, features, self.extractor, self.stft, self.projections)

    def play(self, batch: Batch, part: str = MODEL) -> Play:
        """Say a batch of segments again."""
        real = self._at_some_level(batch)
        fake = self.said(batch, self._heard(batch, real))[:, : real.shape[1]]
        real = real[:, : fake.shape[1]]
        resolutions = RESOLUTIONS if batch.draws is None else LEARNED  # as published where it is measured
        stft = stft_distance(fake, real, resolutions).mean()
        return Play({"mel": mel_l1(fake, real, self.extractor).mean(), "stft": stft}, fake=fake, real=real)

    def _heard(self, batch: Batch, real: Tensor) -> Tensor:
        """What the network hears (B, F, T) of segments (B, S)."""
        return self.extractor(real) if batch.generated is None else batch.generated

    def stored(self, batch: Batch) -> Play:
        """No waveforms are stored: a `UserError`."""
        raise UserError("schedule: a vocoder's critics judge waveforms, and stored samples are features: batches=live")

    def _at_some_level(self, batch: Batch) -> Tensor:
        """The segments (B, S), in training at levels of their own."""
        waveform = batch.waveform
        assert waveform is not None
        if batch.draws is None or not self.gain_db:
            return waveform
        share = batch.draws.uniform("gain", device=waveform.device).to(waveform.dtype)
        gain = 10 ** ((share * (1 + _LOUDER) - 1) * self.gain_db / 20)
        loudest = waveform.abs().amax(dim=1).clamp(min=1e-5)
        return waveform * torch.minimum(gain, (_PEAK / loudest).clamp(min=1.0))[:, None]


class ConvNeXtVocoder(NeuralVocoder):
    """Base of vocoders whose network runs at the frame rate: Vocos' blocks (arXiv:2306.00814) behind the features.

    A subclass makes what comes behind the blocks and ends its constructor with `self.apply(draw)`.
    """

    row: int

    def set_backbone(self, channels: int, dim: int, hidden: int, layers: int, rows: int = 0, row: int = 0) -> None:
        """Make the blocks.

        Args:
            channels: that are heard in each frame.
            dim, hidden: channels of the blocks and inside them.  layers: blocks.
            rows: of the table that scales every normalization; 0: no table.  row: of that table, to speak with.
        """
        self.settings = {"dim": dim, "hidden": hidden, "layers": layers}
        self.row = row
        self.embed = nn.Conv1d(channels, dim, 7, padding=3)
        self.norm = _norm(dim, rows)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(dim, hidden, norm=_norm(dim, rows), layer_scale=1 / layers) for _ in range(layers)
        )
        self.last_norm = nn.LayerNorm(dim, eps=_EPS)

    def backbone(self, x: Tensor) -> Tensor:
        """What is heard (B, channels, T) -> (B, T, dim)."""
        x = self.embed(x).transpose(1, 2)
        x = self.norm(x, self.row) if isinstance(self.norm, TableNorm) else self.norm(x)
        x = x.transpose(1, 2)
        for block in self.blocks:
            x = block(x, row=self.row)
        return self.last_norm(x.transpose(1, 2))


def _norm(dim: int, rows: int) -> nn.LayerNorm | TableNorm:
    return TableNorm(rows, dim, _EPS) if rows else nn.LayerNorm(dim, eps=_EPS)


def draw(module: nn.Module) -> None:
    """Initial weights as Vocos publishes them."""
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
