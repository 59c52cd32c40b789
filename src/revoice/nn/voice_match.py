"""Whether features sound like one voice and not like another, by the speaker encoder and with gradients."""

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.audio.speaker import ENCODER_SPEC, speaker_encoder
from revoice.audio.spec import FeatureSpec
from revoice.nn.remel import remel

_LEAST_POWER = 10 ** (-30 / 10)  # of samples: the encoder is given nothing quieter


def neighbors(items: int, device: torch.device) -> Tensor:
    """Which item's voice each item (N,) of a batch is said in: pairs change places, an odd last one takes the first's.

    >>> neighbors(5, torch.device("cpu")).tolist()
    [1, 0, 3, 2, 0]
    """
    other = torch.arange(items, device=device) ^ 1
    return other.masked_fill(other == items, 0)


def voice_of(features: Tensor, spec: FeatureSpec) -> Tensor:
    """Speaker embeddings (B, 256), of length 1, of log-mel features (B, F, T)."""
    with torch.autocast(features.device.type, enabled=False):
        mels, power = remel(features, spec, ENCODER_SPEC)
        louder = (_LEAST_POWER / power.clamp(min=1e-12)).clamp(min=1.0)
        return speaker_encoder(str(features.device))((mels * louder[:, None, None]).transpose(1, 2))


def voice_mismatch(features: Tensor, target: Tensor, source: Tensor, spec: FeatureSpec) -> Tensor:
    """1 - cosine to the target voices (B, 256), and how much nearer to the sources (B, 256) than the targets are."""
    with torch.autocast(features.device.type, enabled=False):
        voice, target, source = voice_of(features, spec), target.float(), source.float()
        left = F.cosine_similarity(voice, source) - F.cosine_similarity(target, source)
        return (1 - F.cosine_similarity(voice, target) + left.clamp(min=0)).mean()
