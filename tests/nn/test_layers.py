import pytest
import torch
import torch.nn.functional as F

from revoice.nn.adain import TimeStatistics, adaptive_instance_norm, each_of, instance_norm, time_statistics
from revoice.nn.conv import Pointwise, SameConv1d, padded, pixel_shuffle_1d
from revoice.nn.draws import Draws
from revoice.nn.perturb import perturbed


@pytest.mark.parametrize("kernel", range(1, 9))
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [16, 17])
def test_same_conv_keeps_the_length(kernel: int, stride: int, frames: int) -> None:
    assert SameConv1d(3, 5, kernel, stride)(torch.randn(2, 3, frames)).shape == (2, 5, -(-frames // stride))


def test_same_conv_equals_a_padded_convolution() -> None:
    layer, x = SameConv1d(3, 4, 4), torch.randn(2, 3, 20)
    expected = F.conv1d(F.pad(x, (2, 1), mode="reflect"), layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), expected)


def test_pixel_shuffle_interleaves_channels_in_time() -> None:
    x = torch.arange(12.0).view(1, 4, 3)
    y = pixel_shuffle_1d(x, 2)
    assert y.shape == (1, 2, 6)
    assert y[0, 0].tolist() == [0, 3, 1, 4, 2, 5]


def test_instance_norm_removes_mean_and_deviation() -> None:
    y = instance_norm(torch.randn(2, 3, 50) * 4 + 7)
    torch.testing.assert_close(y.mean(2), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(2, correction=0), torch.ones(2, 3), atol=1e-4, rtol=0)


def test_instance_norm_leaves_nothing_of_one_frame() -> None:
    for kind in (torch.float32, torch.bfloat16):
        made = instance_norm(torch.full((2, 3, 1), 7.0, dtype=kind))
        assert made.dtype == kind and made.shape == (2, 3, 1) and not made.any()


def test_adain_gives_the_style_and_equals_its_definition() -> None:
    x = torch.randn(2, 3, 40, requires_grad=True)
    style = TimeStatistics(torch.randn(2, 3, 1, requires_grad=True), torch.randn(2, 3, 1, requires_grad=True))
    y = adaptive_instance_norm(x, style)
    plain = (x - x.mean(2, keepdim=True)) / torch.sqrt(
        x.var(2, keepdim=True, correction=0) + 1e-5
    ) * style.std + style.mean
    torch.testing.assert_close(y, plain, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(y)
    got = torch.autograd.grad((y * weights).sum(), [x, *style])
    expected = torch.autograd.grad((plain * weights).sum(), [x, *style])
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_flat_style_is_the_same_style() -> None:
    x, style = torch.randn(2, 3, 40), TimeStatistics(torch.randn(2, 3, 1), torch.rand(2, 3, 1))
    flat = TimeStatistics(*(told.flatten() for told in style))
    assert torch.equal(adaptive_instance_norm(x, flat), adaptive_instance_norm(x, style))


def test_maps_of_one_vector_are_the_same_as_one_product() -> None:
    maps, x = [torch.nn.Linear(8, 6) for _ in range(3)], torch.randn(4, 8)
    apart = each_of(maps, x)
    assert torch.equal(apart, torch.stack([each(x) for each in maps]))
    with torch.autocast("cpu", torch.bfloat16):
        together = each_of(maps, x)
    assert together.dtype == torch.bfloat16 and together.shape == apart.shape
    torch.testing.assert_close(together.float(), apart, atol=3e-2, rtol=3e-2)


@pytest.mark.parametrize("kernel", [1, 4, 5, 8])
def test_convolutions_that_share_their_padding_give_the_same_bits(kernel: int) -> None:
    conv, x = SameConv1d(3, 4, kernel), torch.randn(2, 3, 20)
    assert torch.equal(conv(padded(x, (5, 4), "reflect"), (5, 4)), conv(x))


def test_a_map_of_channels_is_one_convolution_in_16_bits() -> None:
    torch.manual_seed(0)
    each, x = Pointwise(24, 16), torch.randn(3, 24, 9)
    plain = each(x)
    assert torch.equal(plain, torch.nn.functional.linear(x.transpose(1, 2), each.weight, each.bias).transpose(1, 2))
    with torch.autocast("cpu", torch.bfloat16):
        half = each(x)
    assert half.dtype == torch.bfloat16 and half.shape == plain.shape
    torch.testing.assert_close(half.float(), plain, atol=3e-2, rtol=3e-2)


def test_time_statistics_round_trip() -> None:
    x = torch.randn(2, 3, 30) * 2 + 1
    torch.testing.assert_close(adaptive_instance_norm(x, time_statistics(x)), x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_two_processes_draw_what_one_draws(kind: str) -> None:
    whole = getattr(Draws(3, 7, 0, 6, 6), kind)("x", 4)
    parts = [getattr(Draws(3, 7, first, 3, 6), kind)("x", 4) for first in (0, 3)]
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, getattr(Draws(3, 8, 0, 6, 6), kind)("x", 4))
    assert not torch.equal(whole, getattr(Draws(3, 7, 0, 6, 6), kind)("y", 4))
    assert not torch.equal(whole, getattr(Draws(4, 7, 0, 6, 6), kind)("x", 4))


def test_perturbation_of_nothing_is_nothing_and_of_something_moves_each_item_its_own_way() -> None:
    x = torch.randn(4, 20, 10)
    draws = Draws(0, 0, 0, 4, 4)
    torch.testing.assert_close(perturbed(x, 0.0, draws), x)
    same = x[:1].expand(4, -1, -1)
    y = perturbed(same, 0.2, draws)
    assert y.shape == x.shape and torch.isfinite(y).all()
    assert all(not torch.allclose(y[0], y[i]) for i in range(1, 4))


def test_perturbation_stretches_the_frequency_axis() -> None:
    peak = torch.zeros(64, 40, 5)
    peak[:, 20] = 10.0
    moved = perturbed(peak, 0.2, Draws(1, 0, 0, 64, 64)).mean(2).argmax(1)
    assert moved.min() >= 20 / 1.2 - 1 and moved.max() <= 20 / 0.8 + 1
    assert len(moved.unique()) > 3
    assert torch.isfinite(perturbed(peak, 3.0, Draws(1, 0, 0, 64, 64))).all()  # no axis is turned around
    as_it_was = perturbed(peak, 0.2, Draws(1, 0, 0, 64, 64), stretch=0.0).mean(2).argmax(1)
    assert (as_it_was == 20).all()
