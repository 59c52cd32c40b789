import pytest
import torch

from revoice.nn.gram import GramTarget, merged, plain_distance


def matrices(*shapes: tuple[int, int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize(("rows", "frames", "rank"), [(40, 7, 9), (40, 30, 9), (12, 30, 30), (1, 5, 3)])
def test_value_and_gradient_are_those_of_the_plain_form(rows: int, frames: int, rank: int) -> None:
    features, factor = matrices((rows, frames), (rows, rank))
    target = GramTarget(factor)
    features.requires_grad_(True)
    value, expected = target.distance(features), plain_distance(features, factor @ factor.T)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(loss, features)[0] for loss in (3.0 * value, 3.0 * expected)]
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-11)


def test_the_cheaper_form_is_taken() -> None:
    wide, tall = GramTarget(matrices((6, 20))[0]), GramTarget(matrices((60, 20))[0])
    wide.distance(matrices((6, 20))[0])
    tall.distance(matrices((60, 20))[0])
    assert wide._gram is not None and tall._gram is None


def test_float32_keeps_a_small_difference_of_large_numbers() -> None:
    factor = matrices((3000, 60))[0]
    near = factor + 1e-2 * matrices((3000, 60), (3000, 60))[1]
    exact = plain_distance(near, factor @ factor.T)
    found = GramTarget(factor.float()).distance(near.float())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=0)


def test_equal_gram_matrices_are_at_distance_zero() -> None:
    factor, turn = matrices((30, 8), (8, 8))
    turned = factor @ torch.linalg.qr(turn).Q
    assert float(GramTarget(factor).distance(turned)) < 1e-9 * float(GramTarget(factor).energy)


def test_merged_factors_have_the_sum_of_the_gram_matrices() -> None:
    first, second = matrices((20, 5), (20, 9))
    total = first @ first.T + second @ second.T
    for precision in (0.0, 1e-9):
        factor = merged([first, second], precision)
        torch.testing.assert_close(factor @ factor.T, total, rtol=0, atol=1e-8)


@pytest.mark.parametrize("precision", [1e-3, 1e-2, 0.1])
def test_what_is_left_out_is_bounded(precision: float) -> None:
    rows = matrices((50, 30))[0] * torch.logspace(0, -3, 30, dtype=torch.float64)
    factor = merged([rows], precision)
    assert factor.shape[1] < 30
    total = rows @ rows.T
    assert float((factor @ factor.T - total).norm()) <= precision * float(total.norm()) * (1 + 1e-9)


def test_nothing_left_out_is_still_bounded() -> None:
    factor, total = matrices((6, 1))[0], torch.zeros(6, 6, dtype=torch.float64)
    total += factor @ factor.T
    for block in matrices(*[(6, 4)] * 10):
        factor = merged([factor, block])
        total += block @ block.T
        assert factor.shape[1] < 12
    torch.testing.assert_close(factor @ factor.T, total)
