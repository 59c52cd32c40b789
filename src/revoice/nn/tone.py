"""The tone of a voice: what a model's own copies of the target's clips lack of it, on average and sound by sound.

A model hears a voice in a few seconds and makes of it what it has learned of voices: what it copies in that voice
differs from the clip by a coloring, of which part is the same everywhere and part belongs to the sound. Its
conversions lack the same, so it is given to them: the mean everywhere, and of what is left what the copies' most
similar frames lack (Nadaraya and Watson's weighted mean, 1964). What is compared are frames that the model says in
the same voice, so no model is asked for more than its features.

Not all that copies lack is the voice. A band that moves less in the clip than in the copy holds noise, or nothing, as
by telephone: it counts for less. Nor is it the voice that quiet moments of a band are louder in the clip and loud ones
softer, as behind noise and in rooms: that trend is left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.audio.scale import per_neper, to_log_magnitude
from revoice.audio.spec import FeatureSpec

SECONDS = 30.0  # of a target's clips, in which its tone is looked for
DEPTH = 4.0  # nepers (35 dB) below the loud frames, to which a frame counts as speech
LOUD = 0.95  # of all frames are less loud than those
DOUBT = 100  # frames: what so few tell on average is believed by half
NEAR = 0.3  # deviations of a band, in quadratic mean over the bands, by which similar frames differ
ALONE = 1.0  # equal frames that say as much as the doubt about all of them
EITHER_SIDE = 1  # frames that what is lacking is averaged with
LIMIT = 1.2  # nepers (10 dB) at most in a band
TRUST = 2  # power of how much less a band moves in the clip, by which it is believed
SMALLEST = 0.1  # nepers that a band is taken to move at least


@dataclass(frozen=True)
class Tone:
    """What copies lack of a voice, in nepers; made by `tone_of`.

    Attributes:
        everywhere: on average (F,).
        frames: the copies' N frames of speech (F, N).
        lacking: what each lacks beyond the average (F, N).
    """

    everywhere: Tensor
    frames: Tensor
    lacking: Tensor

    def of(self, said: Tensor) -> Tensor:
        """What a conversion (F, T) lacks (F, T); both are log-magnitudes."""
        center = self.frames.mean(1, keepdim=True)
        scale = self.frames.std(1, correction=0, keepdim=True).clamp(min=SMALLEST) * len(center) ** 0.5
        apart = torch.cdist(((said - center) / scale).T, ((self.frames - center) / scale).T)  # (T, N)
        near = (-0.5 * (apart / NEAR) ** 2).exp()
        local = _smoothed(self.lacking @ near.T / (near.sum(1) + ALONE))
        return LIMIT * torch.tanh((self.everywhere[:, None] + local) / LIMIT)


def tone_of(copies: Iterable[tuple[Tensor, Tensor]], spec: FeatureSpec) -> Tone | None:
    """What copies lack of a voice; None of features that are no logarithms.

    Args:
        copies: features (1, F, T) of clips of the voice, each with those of the same said again in this voice.
        spec: of the features.
    """
    if per_neper(spec) is None:
        return None
    pairs = [tuple(to_log_magnitude(each, spec)[0] for each in pair) for pair in copies]
    there = [spoken(own) for own, _ in pairs]
    own, copy = (torch.cat([pair[i][:, told] for pair, told in zip(pairs, there, strict=True)], dim=1) for i in (0, 1))
    frames = own.shape[1]
    moves = own.std(1, correction=0) / copy.std(1, correction=0).clamp(min=1e-3)
    trust = moves.clamp(max=1.0) ** TRUST
    lacking, around = own - copy, copy - copy.mean(1, keepdim=True)
    mean = lacking.mean(1)
    colored = mean - (trust * mean).sum() / trust.sum().clamp(min=1e-3)
    trend = ((lacking * around).mean(1) / (around**2).mean(1).clamp(min=1e-3)).clamp(max=0.0)
    local = trust[:, None] * (lacking - mean[:, None] - trend[:, None] * around)
    return Tone(trust * colored * frames / (frames + DOUBT), copy, local)


def _smoothed(values: Tensor) -> Tensor:
    """Over each frame of (F, T) and its neighbors, since what is most alike changes from one to the next."""
    return F.avg_pool1d(F.pad(values[None], (EITHER_SIDE, EITHER_SIDE), mode="replicate"), 2 * EITHER_SIDE + 1, 1)[0]


def spoken(features: Tensor) -> Tensor:
    """Which frames (T,) of log-magnitudes (F, T) are not much less loud than the loudest."""
    level = features.logsumexp(0)
    return level > level.quantile(LOUD) - DEPTH


def toned(features: Tensor, tone: Tone, share: float, spec: FeatureSpec) -> Tensor:
    """Features (B, F, T) with so much of a tone."""
    unit = per_neper(spec)
    assert unit is not None, "there is no tone of such features"
    lacking = torch.stack([tone.of(said) for said in to_log_magnitude(features, spec)])
    colored = features + share * unit * lacking
    return colored.clamp(*spec.clip) if spec.clip else colored
