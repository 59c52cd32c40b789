"""VQ-VAE: discrete codes that carry what is said, and a decoder that is told who says it (arXiv:1711.00937)."""

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import (
    MODELS,
    Matching,
    PitchControls,
    Requires,
    Sampler,
    Standardizer,
    TonedControls,
    Trainable,
    require_frames,
)  # fmt: skip
from revoice.nn.adain import styles_from
from revoice.nn.adain_decoder import LONGEST_HOP, Decoder, DecoderSize, spread_upsampling
from revoice.nn.conv import fitted
from revoice.nn.masked import masked_l1
from revoice.nn.perturb import Perturb, perturbed
from revoice.nn.pitch import at_levels_of
from revoice.nn.quantizer import Quantized, Quantizer, QuantizerSize
from revoice.nn.voice_code import VoiceCode, VoiceKind
from revoice.nn.voice_match import judged_by_default, neighbors
from revoice.nn.vq_encoder import VQEncoder, VQEncoderSize
from revoice.settings import Fraction, Frames, Natural, Width


@MODELS.register("vqvae")
class VQVAE(Matching):
    """ZeroSpeech's encoder and quantizer with a decoder to features in place of its autoregressive one.

    The decoder is that of AdaIN-VC: the voice sets the mean and deviation of every layer, and, with `pitch_bins`, the
    pitch is told apart from the codes. Upstream, the first convolution is not padded; here every one is.

    Losses: L1 reconstruction; codebook (moves codes that learn by gradient; only a distance where they are moving
    averages); commitment; perplexity of the codes, to be logged with weight 0.

    Args:
        n_features: feature channels F.
        n_speakers: training speakers, for `voice="speaker"`.
        encoder: `VQEncoderSize`.  quantizer: `QuantizerSize`.  decoder: `DecoderSize` settings.
        voice: "embedding" (any voice, by Resemblyzer) or "speaker" (a table).  voice_dim: of its code.
        perturb, stretch: see `AdaINVC`.
        frames: training crop, a multiple of the hop.  match: see `AdaINVC`.
        sampler: "uniform" over utterances or "by_speaker".
    """

    Controls = TonedControls
    adapts = ("decoder",)
    grows_from = "zerospeech"
    stands_on: tuple[str, ...] = ()
    may_change = ("match",)

    def __init__(
        self,
        n_features: Width,
        n_speakers: Natural | None = None,
        *,
        encoder: VQEncoderSize | None = None,
        quantizer: QuantizerSize | None = None,
        decoder: DecoderSize | None = None,
        voice: VoiceKind = "embedding",
        voice_dim: Width = 128,
        perturb: Perturb = 0.0,
        stretch: Fraction | None = None,
        frames: Frames = 128,
        match: Natural = 0,
        sampler: Sampler = "uniform",
    ) -> None:
        super().__init__()
        sizes, codes, size = encoder or VQEncoderSize(), quantizer or QuantizerSize(), decoder or DecoderSize()
        self.encoder = VQEncoder(n_features, codes.dim, sizes)
        self.hop, self.perturb, self.stretch = prod(sizes.strides), perturb, stretch
        if self.hop > LONGEST_HOP:
            raise UserError(f"model.encoder.strides multiply to {self.hop}: expected {LONGEST_HOP} at most")
        upsample = size.upsample or spread_upsampling(self.hop, size.blocks)
        if prod(upsample) != self.hop:
            raise UserError(f"decoder.upsample={list(upsample)} must multiply to the encoder's hop {self.hop}")
        if frames % self.hop:
            raise UserError(f"frames={frames}: expected a multiple of the encoder's hop {self.hop}")
        self.shortest = max(4, size.kernel // 2 + 1) * self.hop
        require_frames(self.shortest, frames=frames)
        self.voice = VoiceCode(voice, voice_dim, n_speakers)
        self.target = "speaker" if voice == "speaker" else "clips"
        heard = ("features", *(("f0",) if size.pitch_bins else ()), *self.voice.fields)
        self.match = match
        if match:
            self.stands_on = ("whisper", "resemblyzer")
        fields = (*heard, *(("embedding",) if match and "embedding" not in heard else ()))
        self.requires = Requires(fields=fields, analysis=heard, frames=frames, minimum=self.shortest, sampler=sampler)
        self.standardizer = Standardizer(n_features)
        self.quantizer = Quantizer(codes)
        self.decoder = Decoder(n_features, codes.dim, size, upsample, norm_first=True)
        layers = 2 * len(upsample)
        self.affine = nn.ModuleList(nn.Linear(voice_dim, 2 * size.channels) for _ in range(layers))

    def encode(self, x: Tensor, batch: Batch | None = None) -> Quantized:
        """Standardized features (B, F, T) -> codes of T / hop steps; the codebook learns from a training batch."""
        short = -x.shape[-1] % self.hop
        whole = F.pad(x, (0, short), mode="replicate") if short else x
        return self.quantizer(self.encoder(whole), None if batch is None else batch.draws)

    def decode(self, values: Tensor, voice: Tensor, f0: Tensor | None) -> Tensor:
        """Code vectors (B, D, T / hop), voice codes (B, dim), f0 (B, T) -> standardized features (B, F, T)."""
        styles = styles_from(voice, self.affine)
        if self.decoder.pitch is None or f0 is None:
            return self.decoder(values, styles)
        return self.decoder(values, styles, F.pad(f0, (0, values.shape[-1] * self.hop - f0.shape[-1])))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Reconstruction (over valid frames), codebook, commitment, perplexity."""
        x = self.standardizer(batch.features)
        heard = x
        if batch.draws is not None and self.perturb:
            heard = perturbed(x, self.perturb, batch.draws, self.stretch)
        codes = self.encode(heard, batch)
        voice = self.voice(getattr(batch, self.voice.kind))
        y = self.decode(codes.values, voice, batch.f0)[..., : x.shape[-1]]
        judged = self._judged(codes.values, voice, batch) if self.match else {}
        with torch.autocast(x.device.type, enabled=False):
            return {
                "reconstruction": masked_l1(y.float(), x, batch.lengths),
                "codebook": codes.codebook, "commitment": codes.commitment, "perplexity": codes.perplexity.detach(),
                **judged,
            }  # fmt: skip

    def _judged(self, values: Tensor, voice: Tensor, batch: Batch) -> dict[str, Tensor]:
        """One in `match` crops in the voice of its neighbor, at the level of its pitch: whose voice, which words?"""
        assert batch.embedding is not None and self.spec is not None, "set_features comes before training"
        some, other = slice(None, None, self.match), neighbors(len(batch), values.device)
        f0 = None if batch.f0 is None else at_levels_of(batch.f0, other)[some]
        y = self.decode(values[some], voice[other][some], f0)[..., : batch.features.shape[-1]]
        said = self.standardizer.inverse(y.float())
        return judged_by_default(said, batch.features, batch.lengths, batch.embedding, self.match, self.spec)

    @torch.no_grad()
    def convert(self, source: Batch, targets: list[Batch], controls: PitchControls) -> Tensor:
        """Features (B, F, T) of the sources' codes in the target's voice."""
        x = self.standardizer(source.features)
        frames = x.shape[-1]
        x = fitted(x, (torch.sym_max(frames, self.shortest) + self.hop - 1) // self.hop * self.hop)
        voice = self.voice.of([getattr(clip, self.voice.kind) for clip in targets])
        if controls.strength != 1.0:
            voice = torch.lerp(self._own_voice(source), voice, controls.strength)
        y = self.decode(self.encode(x).values, voice.expand(len(x), -1), self.pitch(source, targets, controls))
        return self.standardizer.inverse(y)[..., :frames]

    def pitch(self, source: Batch, targets: list[Batch], controls: PitchControls) -> Tensor | None:
        """The sources' contours (B, T) as the controls say; None if the decoder is not told the pitch."""
        return self.steered_pitch(source, targets, controls)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """z-score with these per-channel statistics (F,)."""
        self.standardizer.set(mean, std)

    def grow_from(self, other: Trainable) -> None:
        """Take over a published encoder and codebook of the same size, which hear features as they are."""
        assert isinstance(other.encoder, VQEncoder) and isinstance(other.quantizer, Quantizer), "see `grows_from`"
        for own, published in ((self.encoder, other.encoder), (self.quantizer, other.quantizer)):
            if {n: v.shape for n, v in own.state_dict().items()} != {
                n: v.shape for n, v in published.state_dict().items()
            }:
                raise UserError("init_from= holds an encoder and codes of other sizes: take model=vqvae_zerospeech")
            own.load_state_dict(published.state_dict())
        mean = self.standardizer.mean
        self.standardizer.set(torch.zeros_like(mean), torch.ones_like(mean))

    def _own_voice(self, source: Batch) -> Tensor:
        if self.voice.kind == "speaker":
            raise UserError(
                "strength needs the source's own voice, which a table of speakers does not tell: leave it out"
            )
        assert source.embedding is not None
        return torch.cat([self.voice.of([own[None]]) for own in source.embedding])
