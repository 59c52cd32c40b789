"""Losses over the frames that are there."""

import torch
from torch import Tensor

from revoice.nn.collective import processes, summed


def masked_l1(prediction: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """Mean absolute error over the valid frames of (B, F, T); equal to the plain mean when nothing is padded.

    The valid frames are counted over all processes, so that the mean of their losses is the loss of the whole batch.
    """
    mask = (torch.arange(target.shape[-1], device=target.device) < lengths[:, None])[:, None]
    valid = summed(mask.sum()) / processes()
    return ((prediction - target).abs() * mask).sum() / (valid * target.shape[1])
