"""In a step of 16 bits waveforms and losses keep 32: critics see the grid of the others, and gates read losses."""

import pytest
import torch

from revoice.audio.presets import load_preset
from revoice.nn.adversarial import Kind, critic_loss, generator_loss
from revoice.vocoders.base import VOCODERS

SMALL = {"vocos": {"dim": 16, "hidden": 16, "layers": 1}, "hifigan": {"channels": 16}}


@pytest.mark.parametrize("name", SMALL)
def test_a_waveform_is_not_on_the_grid_of_16_bits(name: str) -> None:
    spec = load_preset("mel_22k")
    vocoder = VOCODERS.build(name, SMALL[name], {"spec": spec})
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        said = vocoder(torch.randn(1, spec.channels, 16, generator=torch.Generator().manual_seed(0)) - 4)
    assert said.dtype == torch.float32 and (said != said.bfloat16().float()).float().mean() > 0.5
    double = vocoder.double()(torch.zeros(1, spec.channels, 16, dtype=torch.float64))
    assert double.dtype == torch.float64


@pytest.mark.parametrize("kind", ["lsgan", "hinge", "wasserstein"])
def test_losses_of_16_bit_scores_have_32(kind: Kind) -> None:
    scores = [torch.randn(2, 100).bfloat16()]
    assert critic_loss(kind, scores, scores).dtype == generator_loss(kind, scores).dtype == torch.float32
