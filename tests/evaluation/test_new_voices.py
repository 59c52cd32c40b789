"""The judge of new voices, on voices of which the answer is known."""

import torch

from revoice.evaluation.new_voices import judge_voices, voices_picture


def people(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Women around one place, men around another."""
    draw = torch.Generator().manual_seed(seed)
    gender = torch.arange(count) % 2
    middle = torch.zeros(count, 16)
    middle[torch.arange(count), gender] = 1.0
    return torch.nn.functional.normalize(middle + 0.1 * torch.randn(count, 16, generator=draw).abs(), dim=1), gender


REAL, HELD = people(200, 0), people(40, 1)


def test_other_people_pass() -> None:
    others = people(1000, 2)[0]
    found = judge_voices(lambda gender, number: others[number], REAL, HELD)
    assert found.gender > 0.99 and found.gender_real > 0.99 and found.closer < 0.05
    assert all(abs(found.spread[letter] - found.spread_real[letter]) < 0.02 for letter in "FM")
    assert any("gender right" in line for line in found.lines())


def test_a_picture_shows_both() -> None:
    assert voices_picture(REAL, HELD)[:8] == b"\x89PNG\r\n\x1a\n"


def test_copies_are_found() -> None:
    found = judge_voices(lambda gender, number: REAL[0][number % 200] + 1e-4, REAL, HELD)
    assert found.closer > 0.99 and found.nearest < 1e-6 < found.nearest_real


def test_one_voice_for_all_and_the_wrong_gender_are_found() -> None:
    found = judge_voices(lambda gender, number: REAL[0][1 if gender == "F" else 0], REAL, HELD)
    assert found.gender == 0 and found.spread["F"] > 0.999
