"""The tone of a voice: what a model's own copies of the target's clips lack of it on average, band by band.

A model hears a voice in a few seconds and makes of it what it has learned of voices: what it copies in that voice
differs from the clip by a coloring that hardly changes from sound to sound. Its conversions lack the same, so it is
given to them. What a recording puts there and not a voice, such as a telephone's missing bands, is larger: hence the
limit.
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


def tone_of(copies: Iterable[tuple[Tensor, Tensor]], spec: FeatureSpec) -> Tensor | None:
    """What copies lack of a voice (F,), in the units of the features; None of features that are no logarithms.

    Args:
        copies: features (1, F, T) of clips of the voice, each with those of the same said again in this voice.
        spec: of the features.
    """
    unit = per_neper(spec)
    if unit is None:
        return None
    lacking, frames = torch.zeros(spec.rows), 0
    for clip, copy in copies:
        own = to_log_magnitude(clip, spec)[0]
        there = spoken(own)
        lacking = lacking.to(own) + (own - to_log_magnitude(copy, spec)[0])[:, there].sum(1)
        frames += int(there.sum())
    mean = lacking / (frames + DOUBT)
    return unit * LIMIT * torch.tanh((mean - mean.mean()) / LIMIT)


def spoken(features: Tensor) -> Tensor:
    """Which frames (T,) of log-magnitudes (F, T) are not much less loud than the loudest."""
    level = features.logsumexp(0)
    return level > level.quantile(LOUD) - DEPTH


def toned(features: Tensor, tone: Tensor, share: float, spec: FeatureSpec) -> Tensor:
    """Features (B, F, T) with so much of a tone (F,)."""
    colored = features + share * tone[:, None]
    return colored.clamp(*spec.clip) if spec.clip else colored
