"""Distances of spectrograms: known answers, silence, gradients."""

import math

import pytest
import torch

from revoice.audio.features import FeatureExtractor
from revoice.audio.presets import load_preset
from revoice.nn.spectral import RESOLUTIONS, magnitudes, mel_l1, stft_distance


def noise(seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(seed))


def test_a_gain_is_its_logarithm_and_its_share() -> None:
    """Half as loud: |M - M / 2| / |M| = 1/2, and ln 2 in every bin."""
    wave = noise()
    extractor = FeatureExtractor(load_preset("mel_22k"))
    torch.testing.assert_close(mel_l1(wave / 2, wave, extractor), torch.full((2,), math.log(2)), rtol=1e-3, atol=0)
    expected = torch.full((2,), 0.5 + math.log(2))
    torch.testing.assert_close(stft_distance(wave / 2, wave), expected, rtol=1e-4, atol=0)


def test_equal_waveforms_and_turned_ones_are_at_distance_zero() -> None:
    wave = noise()
    assert stft_distance(-wave, wave).abs().max() < 1e-6
    assert mel_l1(-wave, wave, FeatureExtractor(load_preset("mel_22k"))).abs().max() < 1e-6


def test_it_is_the_mean_over_resolutions_and_an_item_counts_alone() -> None:
    made, real = noise(1), noise()
    each = torch.stack([stft_distance(made, real, [resolution]) for resolution in RESOLUTIONS])
    torch.testing.assert_close(stft_distance(made, real), each.mean(0))
    torch.testing.assert_close(stft_distance(made[1:], real[1:])[0], stft_distance(made, real)[1])


def test_silence_has_finite_distances_and_gradients() -> None:
    made, real = torch.zeros(1, 8000, requires_grad=True), torch.zeros(1, 8000)
    (stft_distance(made, real) + stft_distance(made, noise()[:1])).sum().backward()
    assert torch.isfinite(made.grad).all()
    assert float(stft_distance(real, real)) < 1e-9


def test_autocast_changes_nothing() -> None:
    made, real = noise(1), noise()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(stft_distance(made, real), stft_distance(made.float(), real))


def test_a_silent_segment_does_not_outweigh_a_batch() -> None:
    found = []
    for silent in (False, True):
        real = torch.cat([noise(seed) for seed in range(8)])
        made = (real / 2 + 0.02 * torch.cat([noise(seed) for seed in range(8, 16)])).requires_grad_()
        real = torch.cat([torch.zeros_like(real[:1]), real[1:]]) if silent else real
        distance = stft_distance(made, real).mean()
        (gradient,) = torch.autograd.grad(distance, made)
        found.append((float(distance.detach()), float(gradient.norm())))
    assert found[1][0] < 5 * found[0][0] and found[1][1] < 5 * found[0][1]


@pytest.mark.parametrize(("level", "counted"), [(2e-3, 2e-3), (1e-4, 1e-3)])
def test_what_is_silence_is_60_db_below_full_scale(level: float, counted: float) -> None:
    """Above it a distance is what the formula says; below, it is divided by that of such a noise."""
    resolution = RESOLUTIONS[1]
    made, real = (level * each / each.square().mean(1, keepdim=True).sqrt() for each in (noise(1), noise()))
    ours, theirs = (magnitudes(each, *resolution) for each in (made, real))
    share = (theirs - ours).norm(dim=(1, 2)) / theirs.norm(dim=(1, 2)) * (level / counted)
    expected = share + (theirs.log() - ours.log()).abs().mean(dim=(1, 2))
    torch.testing.assert_close(stft_distance(made, real, [resolution]), expected, rtol=1e-2, atol=0)
