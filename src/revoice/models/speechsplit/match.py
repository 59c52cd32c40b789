"""Two clips that say the same, frame by frame."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from revoice.nn.adain import instance_norm
from revoice.nn.alignment import align

_CEPSTRA = 20


def envelope(mel: Tensor) -> Tensor:
    """Mels (B, F, T) -> cepstra (B, 20, T) without mean and deviation over time, which are a voice's."""
    bands = mel.shape[1]
    k = torch.arange(min(_CEPSTRA, bands), device=mel.device)[:, None]
    basis = torch.cos(torch.pi / bands * k * (torch.arange(bands, device=mel.device) + 0.5))
    return instance_norm(torch.einsum("kf,bft->bkt", basis, mel.float()))


def matched(wanted: Tensor, given: Tensor) -> Tensor:
    """For each of the frames (C, T) that are wanted the one of (C, S) that says the same: (T,) int64, never going back.

    >>> matched(torch.tensor([[0.0, 0.0, 5.0]]), torch.tensor([[0.0, 5.0, 5.0]])).tolist()
    [0, 0, 2]
    """
    path = align(_frames(wanted), _frames(given)).path  # (P, 2): a wanted frame may have several, whose mean is taken
    count = np.bincount(path[:, 0])
    return torch.from_numpy(np.rint(np.bincount(path[:, 0], path[:, 1]) / count).astype(np.int64)).to(wanted.device)


def picked(x: Tensor, places: Tensor) -> Tensor:
    """Frames (B, T) of x (B, C, S) -> (B, C, T)."""
    return x.gather(2, places[:, None].expand(-1, x.shape[1], -1))


def _frames(x: Tensor) -> NDArray[np.float64]:
    return x.T.cpu().double().numpy()
