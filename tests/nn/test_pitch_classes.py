"""Classes of pitch: there and back, and clips without voicing."""

import math

import torch

from revoice.nn.pitch_classes import STEPS, UNTOLD, classes, expected, hertz, normalized, one_hot, pitch_statistics


def test_hertz_come_back_within_half_a_step() -> None:
    f0 = torch.tensor([[0.0, 90.0, 120.0, 133.3, 180.0]])
    voice = torch.tensor([[math.log(125.0), 0.2]])
    back = hertz(classes(normalized(f0, voice)), voice)
    step = 2 * 4 * 0.2 / (STEPS - 1)
    assert back[0, 0] == 0
    assert float((back[0, 1:].log() - f0[0, 1:].log()).abs().max()) <= step / 2 + 1e-6


def test_what_is_beyond_four_deviations_is_held_at_the_edge_and_stays_voiced() -> None:
    found = classes(normalized(torch.tensor([[30.0, 2000.0]]), torch.tensor([[math.log(200.0), 0.1]])))
    assert found.tolist() == [[1, STEPS]]


def test_a_clip_without_voicing_has_no_statistics_and_no_pitch() -> None:
    silent = torch.zeros(1, 10)
    statistics = pitch_statistics(silent)
    assert bool(statistics.isnan().all())
    assert classes(normalized(silent, statistics)).sum() == 0
    assert hertz(torch.full((1, 10), 7), statistics).sum() == 0


def test_a_monotone_is_not_divided_by_nothing() -> None:
    flat = torch.full((1, 10), 150.0)
    assert classes(normalized(flat, pitch_statistics(flat))).tolist() == [[129] * 10]


def test_nothing_told_is_no_class_at_all() -> None:
    found = one_hot(torch.tensor([[0, 256, UNTOLD]]))
    assert found.shape == (1, STEPS + 1, 3) and found.sum(1).tolist() == [[1, 1, 0]]


def test_a_frame_is_voiced_where_all_voiced_classes_together_are_more_probable() -> None:
    shares = torch.zeros(1, STEPS + 1, 3)
    shares[0, 0] = torch.tensor([0.4, 0.6, 0.0])
    shares[0, 100], shares[0, 104] = torch.tensor([0.3, 0.2, 0.25]), torch.tensor([0.3, 0.2, 0.75])
    found = expected(shares.clamp(min=1e-30).log())
    assert torch.allclose(found, torch.tensor([[102.0, 0.0, 103.0]]))
    assert (shares.argmax(1) == 0).tolist() == [[True, True, False]]  # as published, the first is not
