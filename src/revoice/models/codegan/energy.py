"""Loudness over time as a code, which no decoder has to be told: a change of it is a gain on the features."""

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.nn.conv import fitted

EVERY = 4  # frames for which there is one code
SPREAD = 0.7  # nepers that are 1 in it
QUIET = 4.0  # nepers under the level: no speech
MOST = 2.0  # nepers that a gain has at most


def require_log(spec: FeatureSpec) -> None:
    """Refuse features on which a gain is no sum."""
    if (spec.scale, spec.power, spec.multiply, spec.add, spec.clip) != ("log", 1, 1.0, 0.0, None):
        raise UserError(
            "model.rewritten: energy takes natural logarithms of magnitudes: expected features=mel_22k or others of "
            "that scale; leave energy out for these"
        )


def energy(features: Tensor, lengths: Tensor, steps: int) -> Tensor:
    """Log-magnitudes (B, F, T), `lengths` (B,) frames of them -> (B, steps, 1): the level over time.

    There is one code for `EVERY` frames; steps beyond the last frame are as that one. It is relative to the mean power
    of the clip, or of the crop, so that louder recordings have equal codes.
    """
    frames = features.shape[-1]
    there = torch.arange(frames, device=features.device) < lengths[:, None]
    loud = torch.logsumexp(2 * features.float(), dim=1).masked_fill(~there, -torch.inf)  # log power
    level = torch.logsumexp(loud, dim=1, keepdim=True) - lengths[:, None].to(loud).log()
    above = (0.5 * (loud - level)).clamp(min=-QUIET)
    places = torch.arange(frames, device=features.device)
    above = above.gather(1, torch.minimum(places, (lengths - 1).clamp(min=0)[:, None]))
    return F.avg_pool1d(fitted(above[:, None], steps * EVERY), EVERY).transpose(1, 2) / SPREAD


def gain(before: Tensor, after: Tensor, frames: int) -> Tensor:
    """Nepers (B, frames) that bring a level over time to another one, codes (B, N, 1) each.

    Where there was no speech nothing gets louder; the mean power of the clip changes with its codes.
    """
    quiet = (before * SPREAD + QUIET).clamp(0, 1)  # the last neper above silence fades the gain
    change = ((after - before) * SPREAD).clamp(-MOST, MOST) * quiet
    # a code is of the middle of its frames, between which it moves evenly
    return fitted(F.interpolate(change.transpose(1, 2), change.shape[1] * EVERY, mode="linear"), frames)[:, 0]


def as_loud(codes: Tensor, like: Tensor, there: Tensor) -> Tensor:
    """Codes (B, N) of `energy` of a stretch of a clip, as they are relative to the mean power of that stretch alone.

    What is meant by that is told by the codes `like` (B, N) of another stretch; both are where `there` (B, N) is True.
    """
    found, wanted = ((2 * SPREAD * each).masked_fill(~there, -torch.inf).logsumexp(1) for each in (codes, like))
    return codes + ((wanted - found) / (2 * SPREAD))[:, None]
