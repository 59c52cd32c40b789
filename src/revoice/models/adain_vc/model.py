"""AdaIN-VC: one-shot conversion with instance normalization (Chou, Yeh, Lee, arXiv:1904.05742)."""

from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.adain_vc.encoders import Content, ContentEncoder, EncoderSize, SpeakerEncoder
from revoice.models.base import (
    MODELS,
    Matching,
    PitchControls,
    Requires,
    Sampler,
    Standardizer,
    TonedControls,
    require_frames,
)  # fmt: skip
from revoice.nn.adain import styles_from
from revoice.nn.adain_decoder import Decoder, DecoderSize, spread_upsampling
from revoice.nn.masked import masked_l1
from revoice.nn.perturb import Perturb, perturbed
from revoice.nn.pitch import at_levels_of
from revoice.nn.voice_match import judged_by_default, neighbors
from revoice.settings import Fraction, Frames, FramesOrNone, Natural, Width


@MODELS.register("adain_vc")
class AdaINVC(Matching):
    """One-shot conversion: content without speaker statistics, a speaker code from one clip, AdaIN in the decoder.

    The training loss is the published pair: L1 reconstruction and the KL divergence of the content code to N(0, 1)
    (0.5 mean(exp(v) + m^2 - 1 - v)); their weights are the config's.

    Args:
        n_features: feature channels F.
        speaker_encoder, content_encoder: `EncoderSize` settings.  decoder: `DecoderSize` settings.
        conditioning: "adain" (a speaker encoder and learned affine maps) or "stat_transfer" (the mirrored network: no
            speaker encoder; each decoder layer receives the statistics that the content encoder's mirror-image layer
            removed from the target clip; needs as many decoder as encoder blocks).
        norm_position: "before" the activation (published code) or "after" it (paper).
        perturb: what the content encoder hears in training is changed in level and tilt by up to three times as many
            standard deviations: each crop sounds like somebody else, so that the voice is not in the content that
            explains it (information perturbation, Choi et al., arXiv:2110.14513). 0 is as published.
        stretch: largest relative stretch of the frequency axis that goes with it; None is as much as `perturb`. More
            than the tenth that tells vocal tracts apart turns vowels into others, and the words are lost.
        frames: training crop.
        minimum: shorter utterances are left out, others padded to the crop; None is as few as the network takes.
        reference_frames: 0 trains the speaker encoder on the crop itself, as published; more takes that many frames of
            *another* utterance of the speaker, which keeps content out of the speaker code.
        match: one in so many crops is also said in the voice of another item, at the level of its pitch; 0: none, as
            published. The loss `voice` asks Resemblyzer whether it sounds like that one, and not like its own; the loss
            `words` asks what the converter that ships hears with whether it says the same. Neither is needed later, but
            judges that are these encoders flatter such a model.
        sampler: "uniform" over utterances or "by_speaker".
    """

    target = "clips"
    Controls = TonedControls
    adapts = ("decoder",)
    stands_on: tuple[str, ...] = ()
    may_change = ("match",)

    def __init__(
        self,
        n_features: Width,
        *,
        speaker_encoder: EncoderSize | None = None,
        content_encoder: EncoderSize | None = None,
        decoder: DecoderSize | None = None,
        conditioning: Literal["adain", "stat_transfer"] = "adain",
        norm_position: Literal["before", "after"] = "before",
        perturb: Perturb = 0.0,
        stretch: Fraction | None = None,
        frames: Frames = 128,
        minimum: FramesOrNone | None = None,
        reference_frames: FramesOrNone = 0,
        match: Natural = 0,
        sampler: Sampler = "uniform",
    ) -> None:
        super().__init__()
        content, size = content_encoder or EncoderSize(), decoder or DecoderSize()
        speaker = speaker_encoder or EncoderSize()
        first = norm_position == "before"
        hop = prod(content.subsample)
        upsample = size.upsample or spread_upsampling(hop, size.blocks)
        _check(upsample, size, content, hop, conditioning)
        self.hop, self.perturb, self.stretch = hop, perturb, stretch
        # reflection at the coarser encoder's slowest rate needs more frames than a kernel of 5 reaches
        self.shortest = 3 * max(hop, prod(speaker.subsample if conditioning == "adain" else ()))
        encoders = (content, speaker) if conditioning == "adain" else (content,)
        reach = max(each.kernel // 2 + 1 for each in (*encoders, size))
        self.shortest = max(self.shortest, self.shortest // 3 * reach, *(each.bank // 2 + 1 for each in encoders))
        require_frames(self.shortest, frames=frames, reference_frames=reference_frames)
        self.match = match
        heard = ("features", "f0") if size.pitch_bins else ("features",)
        if match:
            self.stands_on = ("whisper", "resemblyzer")
        self.requires = Requires(
            fields=(*heard, *(("embedding",) if match else ())),
            analysis=heard,
            frames=frames,
            minimum=minimum or self.shortest,
            sampler=sampler,
            reference=reference_frames,
        )
        self.standardizer = Standardizer(n_features)
        self.content_encoder = ContentEncoder(n_features, content, first)
        self.decoder = Decoder(n_features, content.out, size, upsample, first)
        self.speaker_encoder: SpeakerEncoder | None = None
        self.affine = nn.ModuleList()
        if conditioning == "adain":
            self.speaker_encoder = SpeakerEncoder(n_features, speaker, first)
            layers = 2 * len(upsample)
            self.affine = nn.ModuleList(nn.Linear(speaker.out, 2 * size.channels) for _ in range(layers))

    def styles(self, x: Tensor) -> Tensor:
        """Standardized features (B, F, T) of the target voice -> a style for every decoder layer, (layers, 2, B, C)."""
        if self.speaker_encoder is None:
            return self.content_encoder.removed(x)
        return self.styles_of(self.speaker_encoder(x))

    def styles_of(self, embedding: Tensor) -> Tensor:
        """Speaker embedding (B, D) -> styles (layers, 2, B, C) by the learned affine maps, mean and deviation."""
        return styles_from(embedding, self.affine)

    def decode(self, content: Tensor, styles: Tensor, f0: Tensor | None = None) -> Tensor:
        """Content code (B, D, T'), styles (layers, 2, B, C) and, if it is told the pitch, f0 (B, T) -> (B, F, T)."""
        if self.decoder.pitch is None or f0 is None:
            return self.decoder(content, styles)
        frames = f0.shape[-1]
        return self.decoder(content, styles, F.pad(f0, (0, content.shape[-1] * self.hop - frames)))[..., :frames]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """L1 reconstruction and KL of a batch, each a mean over all elements (reconstruction over valid frames)."""
        x = self.standardizer(batch.features)
        reference = x if batch.reference is None else self.standardizer(batch.reference)
        heard = x
        if batch.draws is not None and self.perturb:
            heard = perturbed(x, self.perturb, batch.draws, self.stretch)
        content, styles = self._hear(heard, reference)
        z = content.mean
        if batch.draws is not None:
            noise = batch.draws.normal("content", *z.shape[1:], device=z.device)
            z = z + torch.exp(content.log_variance / 2) * noise
        y = self.decode(z, styles, batch.f0)[..., : x.shape[-1]]
        judged = self._judged(z, styles, batch) if self.match else {}
        with torch.autocast(x.device.type, enabled=False):
            return {
                "reconstruction": masked_l1(y.float(), x, batch.lengths),
                "kl": kl_to_standard_normal(content.mean.float(), content.log_variance.float()),
                **judged,
            }

    def _judged(self, z: Tensor, styles: Tensor, batch: Batch) -> dict[str, Tensor]:
        """One in `match` crops in the voice of its neighbor, at the level of its pitch: whose voice, which words?"""
        assert batch.embedding is not None and self.spec is not None, "set_features comes before training"
        some, other = slice(None, None, self.match), neighbors(len(batch), z.device)
        f0 = None if batch.f0 is None else at_levels_of(batch.f0, other)[some]
        y = self.decode(z[some], styles[:, :, other][:, :, some], f0)[..., : batch.features.shape[-1]]
        said = self.standardizer.inverse(y.float())
        return judged_by_default(said, batch.features, batch.lengths, batch.embedding, self.match, self.spec)

    def _hear(self, x: Tensor, reference: Tensor) -> tuple[Content, Tensor]:
        """The code of what is heard (B, F, T) and the styles of the reference.

        The mirrored network has one encoder for both, which in 16 bits takes them at once; in float32 one after the
        other, so that rounding stays what it has been.
        """
        alike = self.speaker_encoder is None and x.shape == reference.shape
        if alike and torch.is_autocast_enabled(x.device.type):
            return self.content_encoder.code_and_removed(x, reference)
        return self.content_encoder(x), self.styles(reference)

    @torch.no_grad()
    def convert(self, source: Batch, targets: list[Batch], controls: PitchControls) -> Tensor:
        """Features (B, F, T) of the sources' content in the mean voice of the target clips."""
        x = self._standardized(source)
        styles = self._mean_styles(targets).expand(-1, -1, len(x), -1)
        if controls.strength != 1.0:
            styles = torch.lerp(self.styles(x), styles, controls.strength)
        y = self.decode(self.content_encoder(x).mean, styles, self.pitch(source, targets, controls))
        return self.standardizer.inverse(y)[..., : source.features.shape[-1]]

    def pitch(self, source: Batch, targets: list[Batch], controls: PitchControls) -> Tensor | None:
        """The sources' contours (B, T) as the controls say; None if the decoder is not told the pitch."""
        return self.steered_pitch(source, targets, controls)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """z-score with these per-channel statistics (F,)."""
        self.standardizer.set(mean, std)

    def speaker_codes(self, features: Tensor) -> Tensor | None:
        """(B, F, T) -> (B, D): the speaker embedding, or all style means for the mirrored network."""
        x = self.standardizer(features)
        if self.speaker_encoder is not None:
            return self.speaker_encoder(x)
        return self.styles(x)[:, 0].transpose(0, 1).flatten(1)

    def _mean_styles(self, targets: list[Batch]) -> Tensor:
        if self.speaker_encoder is not None:
            codes = [self.speaker_encoder(self._standardized(target)) for target in targets]
            return self.styles_of(torch.stack(codes).mean(0))
        return torch.stack([self.styles(self._standardized(target)) for target in targets]).mean(0)

    def _standardized(self, clip: Batch) -> Tensor:
        x = self.standardizer(clip.features)
        short = self.shortest - x.shape[-1]
        return F.pad(x, (0, short), mode="replicate") if short > 0 else x


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """0.5 mean(exp(v) + m^2 - 1 - v)."""
    return 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).mean()


def _check(upsample: tuple[int, ...], size: DecoderSize, content: EncoderSize, hop: int, conditioning: str) -> None:
    if prod(upsample) != hop:
        raise UserError(f"decoder.upsample={list(upsample)} must multiply to the content encoder's hop {hop}")
    if conditioning == "stat_transfer":
        if len(upsample) != len(content.subsample) or size.channels != content.channels:
            raise UserError(
                "conditioning=stat_transfer needs a decoder that mirrors the content encoder: "
                f"decoder.blocks={len(content.subsample)} decoder.channels={content.channels}"
            )
        if content.norm != "instance":
            raise UserError(
                "conditioning=stat_transfer needs content_encoder.norm=instance: its statistics are the style"
            )
