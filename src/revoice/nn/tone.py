"""The tone of a voice: what a model's own copies of the target's clips lack of it on average, band by band.

A model hears a voice in a few seconds and makes of it what it has learned of voices: what it copies in that voice
differs from the clip by a coloring that hardly changes from sound to sound. Its conversions lack the same, so it is
given to them. A band that moves less in the clip than in the copy holds noise, or nothing, as by telephone: it tells
the less of the voice.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from revoice.audio.scale import per_neper, to_log_magnitude
from revoice.audio.spec import FeatureSpec

DEPTH = 4.0  # nepers (35 dB) below the loud frames, to which a frame counts as speech
LOUD = 0.95  # of all frames are less loud than those
DOUBT = 100  # frames: what so few tell is believed by half
LIMIT = 0.7  # nepers (6 dB) at most in a band
TRUST = 2  # power of how much less a band moves in the clip, by which it is believed


def tone_of(copies: Iterable[tuple[Tensor, Tensor]], spec: FeatureSpec) -> Tensor | None:
    """What copies lack of a voice (F,), in the units of the features; None of features that are no logarithms.

    Args:
        copies: features (1, F, T) of clips of the voice, each with those of the same said again in this voice.
        spec: of the features.
    """
    unit = per_neper(spec)
    if unit is None:
        return None
    pairs = [tuple(to_log_magnitude(each, spec)[0] for each in pair) for pair in copies]
    there = [spoken(own) for own, _ in pairs]
    own, copy = (torch.cat([pair[i][:, told] for pair, told in zip(pairs, there, strict=True)], dim=1) for i in (0, 1))
    frames = own.shape[1]
    moves = own.std(1, correction=0) / copy.std(1, correction=0).clamp(min=1e-3)
    trust = moves.clamp(max=1.0) ** TRUST
    lacking = (own - copy).mean(1)
    lacking = lacking - (trust * lacking).sum() / trust.sum().clamp(min=1e-3)
    return unit * LIMIT * torch.tanh(trust * lacking * frames / (frames + DOUBT) / LIMIT)


def spoken(features: Tensor) -> Tensor:
    """Which frames (T,) of log-magnitudes (F, T) are not much less loud than the loudest."""
    level = features.logsumexp(0)
    return level > level.quantile(LOUD) - DEPTH


def toned(features: Tensor, tone: Tensor, share: float, spec: FeatureSpec) -> Tensor:
    """Features (B, F, T) with so much of a tone (F,)."""
    colored = features + share * tone[:, None]
    return colored.clamp(*spec.clip) if spec.clip else colored
