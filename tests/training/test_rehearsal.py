"""Schedules whose later phases cannot be taken."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from revoice.critics.base import CRITICS
from revoice.errors import UserError
from revoice.training.config import check
from revoice.training.module import VoiceModule
from revoice.training.run import train
from tests.integration.adversarial import SCHEDULE, config

LEARN = [{"part": "generator", "losses": {"reconstruction": 1}}]


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


@pytest.mark.parametrize(
    ("critic", "refused"),
    [({"name": "patch"}, True), ({"name": "patch", "norm": "instance"}, False), ({"name": "two_stems"}, True)],
)
@pytest.mark.parametrize("loss", ["penalty", "r1"])
def test_a_slope_of_each_item_is_refused_of_critics_that_judge_it_by_others(
    tmp_path: Path, critic: dict[str, Any], refused: bool, loss: str
) -> None:
    values = config(tmp_path, schedule=[{"turns": [{"part": "c", "losses": {"critic": 1, loss: 1}}, *LEARN]}])
    values |= {"critics": {"c": {**critic, "of": "generator"}}, "optimizers": None}
    if refused:
        with pytest.raises(UserError, match=f"{loss} is of the slope at each item.*critics.c.norm=instance"):
            check(values)
    else:
        check(values)


def test_a_batchwise_critic_is_one_that_normalizes_over_the_batch() -> None:
    for name in CRITICS.names():
        sizes = {"channels": 2, "classes": 2} if name == "code" else {"classes": 2} if name == "embedding" else {}
        critic = CRITICS.build(name, {}, sizes)
        normed = any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in critic.modules())
        assert critic.batchwise({}) == normed, name
