from typing import Any

import pytest

from revoice.errors import UserError
from revoice.settings import checked
from revoice.training.schedule import SMOOTHING, Condition, Phases, Schedule

THREE = [
    {"iterations": 4, "turns": [{"part": "model", "losses": {"reconstruction": 100}}]},
    {"until": "val/accuracy/patch > 0.9", "patience": 2, "turns": [{"part": "patch"}]},
    {
        "turns": [{"part": "patch"}, {"part": "model", "losses": {"reconstruction": 1}, "every": 3}],
        "gates": {"patch": {"metric": "train/critic/patch", "stop_below": 0.3, "go_above": 0.5}},
    },
]
DEFAULT = {"model": {"reconstruction": 1}, "patch": {"critic": 1}}


def schedule(phases: Any = THREE) -> Schedule:
    return Schedule(checked(Phases, phases, "schedule"), DEFAULT)


def parts(found: Schedule, iteration: int) -> list[str]:
    return [due.turn.part for due in found.due(iteration) if due.learns]


def test_phases_follow_each_other_by_iterations_and_by_what_validation_finds() -> None:
    found = schedule()
    for iteration in range(4):
        assert parts(found, iteration) == ["model"]
        found.finish(iteration, {"train/loss": 1.0})
    assert found.number == 1 and parts(found, 4) == ["patch"]
    for done, accuracy, number in ((5, 0.95, 1), (6, 0.5, 1), (7, 0.91, 1), (8, 0.92, 2)):  # twice in a row
        found.finish(done - 1, {})
        found.validated(done, {"val/accuracy/patch": accuracy})
        assert found.number == number
    assert found.began == 8
    assert [parts(found, 8 + i) for i in range(4)] == [["patch", "model"], ["patch"], ["patch"], ["patch", "model"]]


def test_a_gate_lets_a_part_rest_with_hysteresis_on_the_smoothed_metric() -> None:
    found = schedule(THREE[2:])
    value, mean, learned = 0.6, 0.6, []
    for iteration in range(400):
        wanted = 0.1 if iteration < 100 else 0.4 if iteration < 200 else 0.9
        found.finish(iteration, {"train/critic/patch": wanted})
        mean = SMOOTHING * mean + (1 - SMOOTHING) * wanted if iteration else wanted
        value = mean
        learned.append("patch" in parts(found, iteration + 1))
    assert not learned[99] and not learned[199], "0.4 lies between: it stays as it is"
    opened = next(i for i, learns in enumerate(learned) if learns)
    assert 200 < opened < 210 and value > 0.5
    due = schedule(THREE[2:]).due(0)
    assert [each.learns for each in due] == [True, True]


def test_a_part_that_rests_is_still_asked() -> None:
    found = schedule(THREE[2:])
    found.finish(0, {"train/critic/patch": 0.1})
    due = {each.turn.part: each.learns for each in found.due(3)}
    assert due == {"patch": False, "model": True}


def test_warm_ups_count_from_the_beginning_of_a_phase() -> None:
    found = schedule([THREE[0], {"turns": [{"part": "model", "losses": {"a": {"value": 1, "warmup": 10}}}]}])
    for iteration in range(4):
        found.finish(iteration, {})
    assert found.due(4)[0].at == 0 and found.due(6)[0].at == 2


def test_a_schedule_goes_on_where_it_was() -> None:
    one, other = schedule(), schedule()
    for iteration in range(4):
        one.finish(iteration, {})
    one.validated(4, {"val/accuracy/patch": 0.95})
    other.load_state_dict(one.state_dict())
    for each in (one, other):
        each.validated(5, {"val/accuracy/patch": 0.95})
    assert one.number == other.number == 2 and one.state_dict() == other.state_dict()
    with pytest.raises(UserError, match="phase 3, this schedule has 1"):
        schedule(THREE[:1]).load_state_dict(one.state_dict())


def test_behind_the_last_phase_no_other_begins() -> None:
    found = schedule(THREE[:1])
    for iteration in range(9):
        found.finish(iteration, {})
    assert found.number == 0 and parts(found, 9) == ["model"]


def test_with_the_last_phase_the_run_is_over() -> None:
    found = schedule(THREE[:1])
    for iteration in range(4):
        assert not found.over
        found.finish(iteration, {})
    assert found.over
    again = schedule(THREE[:1])
    again.load_state_dict(found.state_dict())
    longer = schedule(THREE)
    longer.load_state_dict(found.state_dict())
    assert again.over and not longer.over
    ended = schedule(THREE[1:2])
    for done in (1, 2):
        ended.validated(done, {"val/accuracy/patch": 0.95})
    assert ended.over


@pytest.mark.parametrize(
    ("phases", "why"),
    [
        ([], "schedule"),
        ([{"turns": []}], r"schedule\[0\].turns=\[\]"),
        ([{"turns": [{"part": "model"}, {"part": "model"}]}], "two turns of model in one phase"),
        ([{"turns": [{"part": "model"}], "until": "soon"}], "METRIC > NUMBER"),
        ([{"turns": [{"part": "model"}], "until": "val/loss > nan"}], "METRIC > NUMBER"),
        ([{"turns": [{"part": "model"}], "gates": {"patch": THREE[2]["gates"]["patch"]}}], "a gate for patch"),
        (
            [{"turns": [{"part": "p"}], "gates": {"p": {"metric": "m", "stop_below": 2, "go_above": 1}}}],
            "could not close",
        ),
        (
            [{"turns": [{"part": "model", "every": 0}]}],
            r"schedule\[0\].turns\[0\].every=0: expected a whole number from 1",
        ),
    ],
)
def test_mistakes_are_one_line(phases: Any, why: str) -> None:
    with pytest.raises(UserError, match=why):
        schedule(phases)


def test_conditions() -> None:
    assert Condition.parse("a/b<1e-3") == Condition("a/b", False, 1e-3)
    assert not Condition.parse("a > 0").holds(float("nan"))
