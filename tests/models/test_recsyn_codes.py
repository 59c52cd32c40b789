"""The melody of the converter that ships, as codes."""

import math

import torch

from revoice.models.recsyn.codes import ANYWHERE, EVERY, SPREAD, contour, levels, melody


def test_a_melody_is_above_its_level_and_comes_back() -> None:
    time = torch.arange(64.0)
    f0 = torch.stack([150 * (1 + 0.2 * torch.sin(time / 15)), torch.full((64,), 220.0)])
    f0[0, 20:30] = f0[0, :3] = f0[1, 40:] = 0
    level = levels(f0, None)
    code = melody(f0, level)
    assert code.shape == (2, 64 // EVERY, 1) and code[1].abs().max() < 1e-4
    back = contour(code, level, (f0 > 0).float())
    assert bool(((back > 0) == (f0 > 0)).all())
    voiced = f0 > 0
    assert (back[voiced] / f0[voiced]).log().abs().max() < 0.05
    higher = contour(code + 1, level, (f0 > 0).float())
    torch.testing.assert_close(higher[voiced], back[voiced] * math.exp(SPREAD))


def test_between_voiced_frames_it_moves_evenly() -> None:
    f0 = torch.zeros(1, 12)
    f0[0, 1], f0[0, 9] = 100.0, 200.0
    level = torch.tensor([math.log(100.0)])
    steps = (melody(f0, level) * SPREAD)[0, :, 0]
    expected = [math.log(2) * (sum(min(max(at - 1, 0), 8) / 8 for at in range(i, i + 4)) / 4) for i in (0, 4, 8)]
    torch.testing.assert_close(steps, torch.tensor(expected))


def test_nothing_voiced_stands_at_the_level() -> None:
    f0 = torch.zeros(2, 9)
    assert levels(f0, None).tolist() == levels(f0, torch.tensor([math.nan, math.nan])).tolist()
    assert abs(float(levels(f0, None)[0]) - ANYWHERE) < 1e-6
    assert melody(f0, levels(f0, None)).abs().max() == 0 and melody(f0, levels(f0, None)).shape == (2, 3, 1)
