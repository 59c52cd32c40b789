"""What a critic and a generator minimize, as pure functions of the critic's scores.

A critic is a set of sub-critics (of periods, scales, resolutions), each of which scores every place of what it judges.
A loss is the mean over a sub-critic's places and the batch, then over the sub-critics (`reduce="mean"`, as Vocos
publishes), or their sum (`reduce="sum"`, as HiFi-GAN does: N times as much for N sub-critics, and its feature matching
has a weight of 2 on top). A weight of the schedule says either, so `mean` is the default: weights keep their meaning
when a sub-critic is added.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["lsgan", "hinge", "wasserstein", "logistic"]
Reduce = Literal["mean", "sum"]
Judge = Callable[[Tensor], Sequence[Tensor]]


def critic_loss(kind: Kind, real: Sequence[Tensor], fake: Sequence[Tensor], reduce: Reduce = "mean") -> Tensor:
    """What the critic minimizes: high scores for what is real, low ones for what is made.

    Args:
        kind: "lsgan" (D(x) - 1)^2 + D(g)^2 (Mao et al., arXiv:1611.04076), "hinge" max(0, 1 - D(x)) + max(0, 1 + D(g))
            (Lim and Ye, arXiv:1705.02894), "wasserstein" D(g) - D(x) (Arjovsky et al., arXiv:1701.07875) or "logistic",
            the mean of log(1 + e^-D(x)) and log(1 + e^D(g)), binary cross-entropy (Goodfellow et al., arXiv:1406.2661):
            0.69 for a critic that knows nothing.
        real, fake: the scores (B, ...) of each sub-critic; `fake` of a detached output.
        reduce: over the sub-critics.
    """
    return _reduced([_critic_term(kind, _wide(r), _wide(f)) for r, f in zip(real, fake, strict=True)], reduce)


def _critic_term(kind: Kind, real: Tensor, fake: Tensor) -> Tensor:
    if kind == "lsgan":
        return (real - 1).square().mean() + fake.square().mean()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if kind == "logistic":
        return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    assert kind == "wasserstein", kind
    return fake.mean() - real.mean()


def generator_loss(kind: Kind, fake: Sequence[Tensor], reduce: Reduce = "mean") -> Tensor:
    """What the generator minimizes for the critic's sake, of the scores (B, ...) of each sub-critic.

    With "hinge" it is max(0, 1 - D(g)), as Vocos publishes it: what convinces already is not pushed further. (The
    original is -D(g), which is what "wasserstein" gives.)
    """
    return _reduced([_generator_term(kind, _wide(scores)) for scores in fake], reduce)


def _generator_term(kind: Kind, fake: Tensor) -> Tensor:
    if kind == "lsgan":
        return (fake - 1).square().mean()
    if kind == "hinge":
        return F.relu(1 - fake).mean()
    if kind == "logistic":
        return F.softplus(-fake).mean()
    assert kind == "wasserstein", kind
    return -fake.mean()


def feature_matching(
    real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]], reduce: Reduce = "mean"
) -> Tensor:
    """Mean absolute difference of maps, summed over those of a sub-critic (Kumar et al., arXiv:1910.06711).

    Args:
        real, fake: the maps of each sub-critic; no gradient flows into those of `real`.
        reduce: over the sub-critics.
    """
    terms = [
        torch.stack([F.l1_loss(f, r.detach()) for r, f in zip(reals, fakes, strict=True)]).sum()
        for reals, fakes in zip(real, fake, strict=True)
    ]
    return _reduced(terms, reduce)


def gradient_penalty(judge: Judge, real: Tensor, fake: Tensor, mix: Tensor, reduce: Reduce = "mean") -> Tensor:
    """How far the critic's slope between what is real and what is made is from 1: E (|dD/dx| - 1)^2.

    Gulrajani et al., arXiv:1704.00028, equation 3. Where a sub-critic scores several places, D is their mean, as it is
    in the loss: the penalty then holds that very function to the slope it needs, however many places there are.

    Args:
        judge: what is judged (B, ...) -> the scores of each sub-critic.
        real, fake: (B, ...); no gradient flows into either.
        mix: (B,) uniform numbers: the share of what is real in each mixture.
        reduce: over the sub-critics.
    """
    share = mix.to(real.dtype).view(-1, *[1] * (real.ndim - 1))
    between = torch.lerp(fake.detach(), real.detach(), share)
    return _reduced([(norm - 1).square().mean() for norm in _slopes(judge, between)], reduce)


def joint_gradient_penalty(judge: Judge, real: Tensor, fake: Tensor, mix: Tensor, reduce: Reduce = "mean") -> Tensor:
    """The penalty of code that gives one share too many dimensions, so that every item is mixed with every one.

    Item j with share i is `mix[i] real[j] + (1 - mix[i]) fake[j]`, B x B mixtures in all, and what is pushed to 1 is
    the length of the slopes of all items of one share together: a critic's slope at each is then about B ** -0.5. It
    needs the whole batch in one piece. Arguments as in `gradient_penalty`, for `real` and `fake` (B, D).
    """
    share, size = mix.to(real.dtype)[:, None, None], len(real)
    between = torch.lerp(fake.detach()[None], real.detach()[None], share)  # (B shares, B items, D)
    with torch.enable_grad():
        x = between.flatten(0, 1).requires_grad_(True)
        slopes = [torch.autograd.grad(s.sum(), x, create_graph=True)[0] for s in judge(x)]
    return _reduced([(_norm(_wide(g).reshape(size, -1)) - 1).square().mean() for g in slopes], reduce)


def r1_penalty(judge: Judge, real: Tensor, reduce: Reduce = "mean") -> Tensor:
    """Half the squared slope of the critic at what is real; gamma is its weight (Mescheder et al., arXiv:1801.04406).

    `judge` and `real` as in `gradient_penalty`.
    """
    return _reduced([norm.square().mean() / 2 for norm in _slopes(judge, real.detach())], reduce)


def _slopes(judge: Judge, at: Tensor) -> list[Tensor]:
    """|dD/dx| (B,) of each sub-critic, D the mean of its scores; in float32 at least, differentiable once more."""
    with torch.enable_grad():
        x = at.clone().requires_grad_(True)
        means = [scores.reshape(len(scores), -1).mean(1).sum() for scores in judge(x)]
        gradients = [torch.autograd.grad(mean, x, create_graph=True)[0] for mean in means]
    return [_norm(_wide(g).flatten(1)) for g in gradients]


def _wide(values: Tensor) -> Tensor:
    """In float32 at least."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _norm(gradient: Tensor) -> Tensor:
    """Length of the rows of (B, N), whose own gradient is finite where a row is zero (a fresh, flat critic)."""
    return gradient.square().sum(1).clamp(min=torch.finfo(gradient.dtype).tiny).sqrt()


def _reduced(terms: Sequence[Tensor], reduce: Reduce) -> Tensor:
    total = torch.stack(list(terms))
    return total.mean() if reduce == "mean" else total.sum()
