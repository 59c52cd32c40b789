"""Pitch as networks take it."""

import math

import pytest
import torch

from revoice.data.read.batch import Batch
from revoice.models.base import ConversionModel, PitchControls
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


def test_the_range_of_a_chunk_is_around_the_level_of_the_whole_recording():
    melody = torch.tensor([0.0, 100.0, 120.0, 150.0, 220.0, 300.0, 0.0, 280.0])
    target = Batch.of_clip(torch.zeros(2, 3), f0=torch.tensor([180.0, 0.0, 220.0]))
    controls, model = PitchControls(semitones=3, pitch_range=1.7, strength=0.8), ConversionModel()

    def steered(f0: torch.Tensor, level: torch.Tensor | None) -> torch.Tensor:
        source = Batch.of_clip(torch.zeros(2, len(f0)), f0=f0, level=level)
        made = model.steered_pitch(source, [target], controls)
        assert made is not None
        return made[0]

    whole = steered(melody, None)
    parts = [steered(part, log_level(melody)) for part in melody.split(4)]
    torch.testing.assert_close(torch.cat(parts), whole)
    assert not torch.allclose(steered(melody[:4], None), whole[:4])
