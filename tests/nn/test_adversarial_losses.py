"""Adversarial losses against closed forms, in float64."""

import math

import pytest
import torch
from torch import nn

from revoice.nn.adversarial import critic_loss, feature_matching, generator_loss, gradient_penalty, r1_penalty

REAL = [torch.tensor([[1.5, 0.5]], dtype=torch.float64), torch.tensor([[-1.0]], dtype=torch.float64)]
FAKE = [torch.tensor([[0.5, -2.0]], dtype=torch.float64), torch.tensor([[2.0]], dtype=torch.float64)]
# by hand, of each sub-critic
CRITIC = {
    "lsgan": (0.25 + 2.125, 4.0 + 4.0),
    "hinge": (0.25 + 0.75, 2.0 + 3.0),
    "wasserstein": (-0.75 - 1.0, 2.0 + 1.0),
}
GENERATOR = {"lsgan": ((0.25 + 9.0) / 2, 1.0), "hinge": ((0.5 + 3.0) / 2, 0.0), "wasserstein": (0.75, -2.0)}


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", CRITIC)
@pytest.mark.parametrize(("reduce", "over"), [("mean", 2), ("sum", 1)])
def test_losses_by_hand(kind: str, reduce: str, over: int) -> None:
    assert math.isclose(critic_loss(kind, REAL, FAKE, reduce), sum(CRITIC[kind]) / over)
    assert math.isclose(generator_loss(kind, FAKE, reduce), sum(GENERATOR[kind]) / over)


@pytest.mark.parametrize(("kind", "real", "fake"), [("lsgan", 1.0, 0.0), ("hinge", 1.0, -1.0)])
def test_a_perfect_critic_has_nothing_to_learn(kind: str, real: float, fake: float) -> None:
    assert critic_loss(kind, [torch.full((2, 3), real)], [torch.full((2, 3), fake)]) == 0


def test_feature_matching_sums_over_maps_and_teaches_the_fake_alone() -> None:
    real = [[numbers(2, 3, 4).requires_grad_(True), numbers(2, 5)], [numbers(2, 2)]]  # maps of two sub-critics
    fake = [[m.detach() + shift for m, shift in zip(maps, (1.0, -2.0), strict=False)] for maps in real]
    fake[1][0].requires_grad_(True)
    assert math.isclose(feature_matching(real, fake).item(), (1 + 2 + 1) / 2)
    total = feature_matching(real, fake, "sum")
    total.backward()
    assert math.isclose(total.item(), 4) and real[0][0].grad is None and fake[1][0].grad is not None


def test_penalties_of_a_linear_critic() -> None:
    """D(x) = w x has the slope |w| everywhere: (|w| - 1)^2, |w|^2 / 2, and their gradients by w."""
    w = numbers(6).requires_grad_(True)
    real, fake, mix = numbers(4, 2, 3, seed=1), numbers(4, 2, 3, seed=2), torch.rand(4)

    def judge(x):
        return [x.flatten(1) @ w]

    length, plain = w.norm(), w.detach()
    penalty = gradient_penalty(judge, real, fake, mix)
    torch.testing.assert_close(penalty, (length - 1).square(), rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(penalty, w)
    torch.testing.assert_close(gradient, (2 * (plain.norm() - 1) * plain / plain.norm()), rtol=1e-12, atol=0)
    r1 = r1_penalty(judge, real)
    torch.testing.assert_close(r1, length.square() / 2, rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.autograd.grad(r1, w)[0], plain, rtol=1e-12, atol=0)


def test_the_penalty_is_taken_at_the_mixture() -> None:
    """D(x) = |x|^2 / 2 has the slope |x| at x."""
    real, fake = numbers(5, 7), numbers(5, 7, seed=1)
    mix = torch.tensor([0.0, 1.0, 0.25, 0.5, 0.9], dtype=torch.float64)
    between = mix[:, None] * real + (1 - mix[:, None]) * fake
    found = gradient_penalty(lambda x: [x.square().sum(1) / 2], real, fake, mix)
    torch.testing.assert_close(found, (between.norm(dim=1) - 1).square().mean(), rtol=1e-12, atol=0)
    found = r1_penalty(lambda x: [x.square().sum(1) / 2], real)
    torch.testing.assert_close(found, real.square().sum(1).mean() / 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("reduce", "times"), [("mean", 1), ("sum", 3)])
def test_more_places_and_more_sub_critics_ask_for_no_other_slope(reduce: str, times: int) -> None:
    real, fake, mix = numbers(3, 8), numbers(3, 8, seed=1), torch.rand(3)
    w = numbers(8, seed=2)
    one = gradient_penalty(lambda x: [x @ w], real, fake, mix)
    many = gradient_penalty(lambda x: [(x @ w)[:, None].expand(-1, 10)] * 3, real, fake, mix, reduce)
    torch.testing.assert_close(many, times * one, rtol=1e-12, atol=0)


def test_a_flat_critic_and_frozen_surroundings_do_no_harm() -> None:
    w = torch.zeros(4, requires_grad=True)
    with torch.no_grad():
        assert float(r1_penalty(lambda x: [x @ w], torch.ones(2, 4))) < 1e-30
    penalty = gradient_penalty(lambda x: [x @ w], torch.ones(2, 4), torch.zeros(2, 4), torch.rand(2))
    penalty.backward()
    assert math.isclose(penalty.item(), 1.0) and torch.isfinite(w.grad).all()


def test_each_of_two_halves_of_a_batch_has_half_of_the_penalty() -> None:
    """What makes several processes equal one."""
    critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    real, fake, mix = numbers(6, 3), numbers(6, 3, seed=1), torch.rand(6, dtype=torch.float64)
    whole = gradient_penalty(lambda x: [critic(x)], real, fake, mix)
    halves = [gradient_penalty(lambda x: [critic(x)], real[i::2], fake[i::2], mix[i::2]) for i in (0, 1)]
    torch.testing.assert_close(sum(halves) / 2, whole, rtol=1e-12, atol=0)


def test_the_logistic_kind_is_binary_cross_entropy() -> None:
    real, fake = numbers(3, 5), numbers(3, 5, seed=1)
    bce = nn.functional.binary_cross_entropy_with_logits
    expected = (bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))) / 2
    torch.testing.assert_close(critic_loss("logistic", [real], [fake]), expected)
    torch.testing.assert_close(generator_loss("logistic", [fake]), bce(fake, torch.ones_like(fake)))
    nothing = [torch.zeros(2, 3)]
    assert math.isclose(critic_loss("logistic", nothing, nothing), math.log(2), rel_tol=1e-6)
