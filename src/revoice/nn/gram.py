"""Gram matrices over time, compared without being formed.

Features of T frames are a matrix M (R, T): R pairs of channel and frequency. Its Gram matrix M M' (R, R) keeps which of
them sound together and forgets when: a texture. R is 8160 for the published random CNN, so that a Gram matrix takes
266 MB; but for any factor A (R, r) of another one

    || M M' - A A' ||^2 = || M'M ||^2 - 2 || A'M ||^2 + || A'A ||^2        gradient in M: 4 (M (M'M) - A (A'M))

which needs products of T x T and r x T only. Norms are summed in float64: the result is a difference of large numbers.
A factor may be replaced by any other with the same Gram matrix, so frames of any duration shrink to one of low rank.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


class GramTarget:
    """A Gram matrix A A' to match, kept as its factor.

    Args:
        factor: A (R, r), e.g. features (R, T) themselves.
    """

    def __init__(self, factor: Tensor) -> None:
        self.factor = factor
        self._gram: Tensor | None = None
        self._energy: Tensor | None = None

    def distance(self, features: Tensor) -> Tensor:
        """|| M M' - A A' ||^2 of features M (R, T), a float64 scalar; the cheaper form by shape."""
        rows, frames = features.shape
        if rows < frames + self.factor.shape[1]:
            if self._gram is None:
                self._gram = self.factor @ self.factor.T
            return plain_distance(features, self._gram)
        distance: Tensor = _Distance.apply(features, self.factor, self.energy)
        return distance

    @property
    def energy(self) -> Tensor:
        """|| A A' ||^2, a float64 scalar."""
        if self._energy is None:
            self._energy = _square(self.factor.T @ self.factor)
        return self._energy


def plain_distance(features: Tensor, gram: Tensor) -> Tensor:
    """|| M M' - G ||^2 of features M (R, T) and a Gram matrix G (R, R), as published: with the matrix formed."""
    return (features @ features.T - gram).double().square().sum()


def merged(factors: list[Tensor], precision: float = 0.0) -> Tensor:
    """A factor (R, r) of the sum of the Gram matrices of several (R, r_i).

    Args:
        factors: at least one.
        precision: Frobenius norm of what may be left out of the sum, relative to its own; 0 leaves nothing out (and r
            grows to 2 R at most).
    """
    whole = torch.cat(factors, dim=1)
    if precision <= 0.0:
        return torch.linalg.qr(whole.T, mode="r").R.T if whole.shape[1] >= 2 * whole.shape[0] else whole
    wide = whole.double()
    energy, axes = torch.linalg.eigh(wide.T @ wide)  # ascending
    left_out = energy.clamp_(min=0.0).square().cumsum(0)
    keep = left_out > precision**2 * left_out[-1]
    return (wide @ axes[:, keep]).to(whole.dtype)


class _Distance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor, factor: Tensor, energy: Tensor) -> Tensor:
        own, cross = features.T @ features, factor.T @ features
        ctx.save_for_backward(features, factor, own, cross)
        return _square(own) - 2.0 * _square(cross) + energy

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        features, factor, own, cross = ctx.saved_tensors  # type: ignore[attr-defined]
        scale = (4.0 * grads[0]).to(features.dtype)
        return torch.addmm(features @ (own * scale), factor, cross * -scale), None, None


def _square(matrix: Tensor) -> Tensor:
    return torch.linalg.vector_norm(matrix, dtype=torch.float64).square()
