"""Muon: momentum whose direction is made orthogonal, matrix by matrix (Jordan et al., 2024, kellerjordan.github.io)."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the published quintic: steep at zero, all singular values end near 1
SMALLEST = 16  # a matrix with a thinner side than this has little to make orthogonal
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


class Muon(torch.optim.Optimizer):
    """Muon for the weights of linear and convolutional layers, AdamW for all else (biases, norms, embeddings).

    torch.optim.Muon takes matrices alone; here a convolution's kernel counts as the matrix (out, in * kernel).
    Orthogonal steps are scaled by 0.2 sqrt(larger side), the size of Adam's (Liu et al., arXiv:2502.16982), so that
    both share one rate.

    Args:
        model: module whose trainable parameters are optimized.
        lr: learning rate.
        momentum: of the layers' weights (Nesterov).
        ns_steps: Newton-Schulz iterations; each costs three products of the matrix with itself.
        betas, eps: of AdamW.
        weight_decay: decoupled, of everything.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 1e-3,
        momentum: float = 0.95,
        ns_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        weights = {id(m.weight) for m in model.modules() if isinstance(m, LAYERS) and min(_shape(m.weight)) >= SMALLEST}
        trained = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if id(p) in weights], "orthogonal": True},
            {"params": [p for p in trained if id(p) not in weights], "orthogonal": False},
        ]
        settings = {
            "lr": lr, "momentum": momentum, "ns_steps": ns_steps, "betas": betas, "eps": eps,
            "weight_decay": weight_decay,
        }  # fmt: skip
        super().__init__([group for group in groups if group["params"]], settings)
        self._stacks: list[_Alike] = []
        self._known: list[tuple[int, int]] = []

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns what `closure` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            (self._orthogonal if group["orthogonal"] else self._adam)(group, parameters)
        return loss

    def _orthogonal(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        stacks = self._stacked(parameters)
        views = [view for each in stacks for view in each.views]
        weights = [weight for each in stacks for weight in each.weights]
        torch._foreach_copy_(views, [weight.grad for weight in weights if weight.grad is not None])
        moments, ahead = [each.moments for each in stacks], [each.stack for each in stacks]
        torch._foreach_lerp_(moments, ahead, 1 - group["momentum"])
        torch._foreach_lerp_(ahead, moments, group["momentum"])
        norms = torch._foreach_add([torch.linalg.matrix_norm(each, keepdim=True) for each in ahead], 1e-7)
        torch._foreach_div_(ahead, norms)
        turned = [
            direction
            for _, alike in groupby(stacks, key=_sides)
            for direction in orthogonalized([each.stack for each in alike], group["ns_steps"])
        ]
        torch._foreach_copy_(ahead, turned)
        for larger in sorted({max(each.stack.shape[1:]) for each in stacks}):
            alike = [each for each in stacks if max(each.stack.shape[1:]) == larger]
            weights, views = ([one for each in alike for one in getattr(each, k)] for k in ("weights", "views"))
            torch._foreach_add_(weights, views, alpha=-group["lr"] * 0.2 * math.sqrt(larger))

    def _stacked(self, parameters: list[Tensor]) -> list["_Alike"]:
        """The layers by the shape of their matrices; anew where others have a gradient, or a checkpoint was loaded."""
        known = [(id(p), id(self._moment(p, "momentum_buffer"))) for p in parameters]
        if known != self._known:
            pairs = sorted(parameters, key=_shape)
            stacks = [_Alike(list(alike), shape, self.state) for shape, alike in groupby(pairs, key=_shape)]
            self._stacks = sorted(stacks, key=_sides)
            self._known = [(id(p), id(self.state[p]["momentum_buffer"])) for p in parameters]
        return self._stacks

    def _adam(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        first = [self._moment(p, "exp_avg") for p in parameters]
        second = [self._moment(p, "exp_avg_sq") for p in parameters]
        gradients = [p.grad for p in parameters if p.grad is not None]
        beta1, beta2 = group["betas"]
        group["count"] = count = group.get("count", 0) + 1
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, value=1 - beta2)
        spread = torch._foreach_div(second, 1 - beta2**count)
        torch._foreach_sqrt_(spread)
        torch._foreach_add_(spread, group["eps"])
        torch._foreach_addcdiv_(parameters, first, spread, value=-group["lr"] / (1 - beta1**count))

    def _moment(self, parameter: Tensor, name: str) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        return state[name]


class _Alike:
    """Weights whose matrices have one shape, and so share one batched product.

    Their momentum is one tensor, of which the optimizer's state holds views, and so is what they are moved by.

    Args:
        weights: of any shapes that are this matrix.  shape: of the matrix.
        state: of the optimizer; their momentum is read there, and replaced by the views.
    """

    def __init__(self, weights: list[Tensor], shape: tuple[int, int], state: dict[Any, Any]) -> None:
        self.weights = weights
        self.moments = torch.stack([state[w]["momentum_buffer"].reshape(shape) for w in weights])
        self.stack = torch.empty_like(self.moments)
        self.views = [each.view_as(w) for each, w in zip(self.stack, weights, strict=True)]
        for weight, moment in zip(weights, self.moments, strict=True):
            state[weight]["momentum_buffer"] = moment.view_as(weight)


def orthogonalized(stacks: Sequence[Tensor], steps: int) -> list[Tensor]:
    """Matrices with about the singular vectors they had and all singular values near 1.

    Args:
        stacks: (N, A, B) or (N, B, A) each, of norm 1, with the same two sides: all are turned the same way, and
            share every product.
        steps: Newton-Schulz iterations.

    Returns:
        Stacks of the same shapes.
    """
    tall = [each.shape[1] > each.shape[2] for each in stacks]
    wide = [each.transpose(1, 2) if turn else each for each, turn in zip(stacks, tall, strict=True)]
    x = torch.cat(wide) if len(wide) > 1 else wide[0]
    a, b, c = NEWTON_SCHULZ
    for _ in range(steps):
        gram = torch.bmm(x, x.transpose(1, 2))
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    parts = x.split([len(each) for each in stacks]) if len(wide) > 1 else [x]
    return [each.transpose(1, 2) if turn else each for each, turn in zip(parts, tall, strict=True)]


def _shape(weight: Tensor) -> tuple[int, int]:
    """Of the matrix that a layer's weight is: (out, in * kernel); a transposed convolution's is (in, out * kernel)."""
    return (weight.shape[0], weight[0].numel())


def _sides(alike: _Alike) -> tuple[int, int]:
    """The smaller and the larger side of its matrices."""
    smaller, larger = sorted(alike.stack.shape[1:])
    return smaller, larger
