from typing import Any

import pytest

from revoice.errors import UserError
from revoice.settings import checked
from revoice.training.adversary import Judging
from revoice.training.plan import check_plan
from revoice.training.schedule import Phases

CRITICS = {"patch": Judging(of="generator"), "plain": Judging(of="generator", kind="wasserstein")}
PARTS = ("generator", "listener")


def plan(schedule: Any = None, loss: Any = None, optimizers: Any = (), critics: Any = CRITICS) -> list[str]:
    phases = None if schedule is None else checked(Phases, schedule, "schedule")
    return check_plan(PARTS, critics, {"pitch": 1} if loss is None else loss, phases, optimizers, ["rate"])


def test_what_is_logged_is_known_beforehand() -> None:
    found = plan([{"turns": [{"part": "patch", "losses": {"critic": 1, "r1": 1}},
                             {"part": "generator", "losses": {"mel": 1, "adversarial/patch": 1}}]}])  # fmt: skip
    assert found == [
        "train/critic/patch", "train/generator/adversarial/patch", "train/generator/loss", "train/generator/mel",
        "train/loss", "train/r1/patch", "train/total/patch", "val/accuracy/patch", "val/generator/mel", "val/loss",
        "val/rate",
    ]  # fmt: skip


def test_the_loss_of_validation_says_something_where_the_model_has_one_of_its_own_in_the_end() -> None:
    first = {"iterations": 5, "turns": [{"part": "generator", "losses": {"mel": 1}}]}
    only = {"losses": {"adversarial/patch": 1, "mel": 0}, "part": "generator"}
    assert "val/loss" not in plan([first, {"turns": [{"part": "patch"}, only]}])
    assert "val/loss" not in plan([{"turns": [{"part": "patch"}]}])
    assert "val/loss" in plan([first, {"turns": [{"part": "patch"}]}])
    assert "val/loss" in plan([first, {"turns": [{"part": "patch"}, only, {"part": "listener"}]}])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"schedule": [{"turns": [{"part": "genrator"}]}]}, "did you mean 'generator'"),
        ({"schedule": [{"turns": [{"part": "patch"}]}, {"turns": [{"part": "patch"}]}]}, "it never ends"),
        ({"schedule": [{"turns": [{"part": "patch"}], "until": "val/acuracy/patch > 0.9"}]}, "val/accuracy/patch"),
        ({"schedule": [{"turns": [{"part": "plain"}], "until": "val/accuracy/plain > 0.9"}]}, "logged"),
        ({"schedule": [{"turns": [{"part": "patch", "losses": {"penlty": 1}}]}]}, "did you mean 'penalty'"),
        ({"schedule": [{"turns": [{"part": "generator", "losses": {"adversarial/patsh": 1}}]}]}, "adversarial/patch"),
        ({"schedule": [{"batches": "stored", "turns": [{"part": "generator"}]}]}, "stored samples"),
        ({"schedule": [{"turns": [{"part": "generator"}]}], "loss": {}}, "no losses for generator"),
        (
            {"schedule": [{"turns": [{"part": "generator", "losses": {"mel": 0}}]}]},
            "every loss weight of generator is 0",
        ),
        ({"schedule": [{"turns": [{"part": "patch", "losses": {"critic": 0}}]}]}, "every loss weight of patch is 0"),
        ({"optimizers": ["perod"]}, "part that learns"),
        ({"critics": {"patch": Judging(of="pitch")}}, "critics.patch.of"),
    ],
)
def test_what_does_not_fit_together_is_one_line(given: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        plan(**given)


def test_a_turn_waits_for_what_an_earlier_one_measures() -> None:
    learn = {"part": "patch", "losses": {"critic": 1}}
    made = {"part": "generator", "losses": {"mel": 1}, "when": "train/critic/patch < 0.65"}
    assert "train/critic/patch" in plan([{"turns": [learn, made]}])
    for turns in ([made, learn], [learn, {**made, "when": "train/r1/patch < 1"}], [made]):
        with pytest.raises(UserError, match="metric of an earlier turn"):
            plan([{"turns": turns}])
