"""Pitch as networks take it."""

import math

import pytest
import torch

from revoice.nn.pitch import PitchEmbedding, log_level, moved


def test_the_embedding_is_linear_in_log_f0_between_its_steps_and_apart_for_unvoiced():
    embed = PitchEmbedding(11, 3)
    steps = 60.0 * 10 ** (torch.arange(11) / 10)
    on = embed(steps[None])[0].T
    assert torch.allclose(on, embed.table.weight[:11], atol=1e-4)
    between = embed(torch.sqrt(steps[:-1] * steps[1:])[None])[0].T
    assert torch.allclose(between, (on[:-1] + on[1:]) / 2, atol=1e-4)
    assert torch.equal(embed(torch.zeros(1, 1))[0, :, 0], embed.table.weight[11])
    assert torch.equal(embed(torch.tensor([[20.0]])), embed(torch.tensor([[60.0]])))
    assert torch.allclose(embed(torch.tensor([[5000.0]])), embed(torch.tensor([[600.0]])))


def test_levels_ignore_unvoiced_frames():
    contour = torch.tensor([0.0, 100.0, 400.0, 0.0])
    assert log_level(contour).exp().item() == pytest.approx(200.0)
    assert log_level(torch.zeros(3)).isnan()
    assert moved(contour, -math.log(2)).tolist() == pytest.approx([0.0, 50.0, 200.0, 0.0])
