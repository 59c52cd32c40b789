"""Paired tests between systems."""

import numpy as np
import pytest

from revoice.evaluation.compare import differences, ties
from revoice.evaluation.metrics.base import Column
from revoice.evaluation.summary import summarize

SCORE = Column(key="score", title="Score", explain="x", better="higher")
VOICES = [f"v{i}" for i in range(8)]


def records(values: np.ndarray) -> list[dict]:
    pairs = [(a, b) for a in VOICES for b in VOICES if a != b]
    return [
        {
            "source": f"{a}_1", "source_speaker": a, "target_speaker": b, "same_gender": None, "failed": "",
            "sentence": f"s{i % 10}", "score": value,
        }
        for i, ((a, b), value) in enumerate(zip(pairs, values, strict=True))
    ]  # fmt: skip


@pytest.fixture()
def systems() -> dict[str, list[dict]]:
    """The second is a little better on every trial, the third by chance; trials differ more than systems do."""
    draws = np.random.default_rng(0)
    hard = draws.normal(0, 1, 56)
    return {
        "plain": records(hard),
        "better": records(hard + 0.2 + draws.normal(0, 0.05, 56)),
        "chance": records(hard + draws.normal(0, 0.3, 56)),
    }


def test_what_is_paired_is_told_apart_though_trials_differ_more(systems) -> None:
    found = differences(systems, [SCORE])["score"]
    better, chance = found["plain", "better"], found["plain", "chance"]
    assert better.significant and better.mean == pytest.approx(-0.2, abs=0.03) and better.trials == 56
    assert better.interval.high < 0
    assert not chance.significant and chance.interval.low < 0 < chance.interval.high
    assert better.facts()["significant"] is True


def test_ties_are_marked_beside_the_best(systems) -> None:
    summaries = {name: summarize(own, [SCORE]) for name, own in systems.items()}
    found = differences(systems, [SCORE])
    best, even = ties(summaries, SCORE, found)
    assert best == "better" and "plain" not in even
    two = {name: systems[name] for name in ("plain", "chance")}
    best, even = ties({name: summaries[name] for name in two}, SCORE, differences(two, [SCORE]))
    assert {best, *even} == {"plain", "chance"}
    assert ties(summaries, Column(key="score", title="t"), found) == ("", set())


def test_many_comparisons_ask_for_more(systems) -> None:
    """A difference with p = 0.03 is one of two systems', not one of a dozen's."""
    draws = np.random.default_rng(3)
    noise = {f"n{i}": records(draws.normal(0, 1, 56)) for i in range(8)}
    marked = [d for d in differences(noise, [SCORE])["score"].values() if d.significant]
    assert len(marked) <= 1


def test_what_one_system_lacks_is_not_compared(systems) -> None:
    for record in systems["better"][:50]:
        record["score"] = float("nan")
    found = differences(systems, [SCORE])["score"]["plain", "better"]
    assert found.trials == 6
    assert differences({"one": systems["plain"]}, [SCORE]) == {}


def test_three_voices_that_agree_are_no_proof() -> None:
    share = Column(key="score", title="t", explain="x", better="higher", share=True)
    pairs = [(a, b) for a in VOICES[:3] for b in VOICES[:3] if a != b]
    systems = {
        name: [
            {"source": f"{a}_1", "source_speaker": a, "target_speaker": b, "score": value} for a, b in pairs
        ]
        for name, value in (("one", 1.0), ("other", 0.0), ("same", 1.0))
    }  # fmt: skip
    found = differences(systems, [share])["score"]
    apart, even = found["one", "other"], found["one", "same"]
    assert (apart.mean, apart.p, apart.significant, apart.trials) == (1.0, 0.25, False, 6)
    assert apart.interval.low < 0 and apart.interval.high == 1.0
    assert even.p == 1.0 and even.interval.low == -even.interval.high < -0.5
    many = {name: records(np.full(56, value)) for name, value in (("one", 1.0), ("other", 0.0))}
    sure = differences(many, [share])["score"]["one", "other"]
    assert sure.p == 2 * 0.5**8 and sure.significant and sure.interval.low > 0.3
