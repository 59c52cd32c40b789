"""Schedules whose later phases cannot be taken."""

from pathlib import Path
from typing import Any

import pytest

from revoice.errors import UserError
from revoice.training.module import VoiceModule
from revoice.training.run import train
from tests.integration.adversarial import SCHEDULE, config


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        ({"part": "generator", "losses": {"reconstuction": 1}}, r"schedule\[1\], generator.*reconstruction"),
        ({"part": "generator", "losses": {"adversarial/patch": 1}}, r"schedule\[1\], generator.*reconstruction"),
        ({"part": "patch", "losses": {"critic": 1, "class": 1}}, r"schedule\[1\], patch.*tells no classes"),
    ],
)
def test_what_a_later_phase_cannot_do_is_found_before_the_first_iteration(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: dict[str, Any], why: str
) -> None:
    monkeypatch.setattr(VoiceModule, "training_step", lambda *_: pytest.fail("it learned"))
    phases = [SCHEDULE[0], {"turns": [turn, {"part": "listener"}]}]
    with pytest.raises(UserError, match=why) as error:
        train(config(workplace, "max_iterations=9", schedule=phases), tmp_path)
    assert "\n" not in str(error.value)
