"""Which differences between systems are more than chance: paired tests on the trials that all of them were given."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from revoice.evaluation.bootstrap import Interval, weighted_mean
from revoice.evaluation.metrics.base import Column
from revoice.evaluation.summary import Record, Summary, record_weights, resampling

LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """How much higher the first of two systems scores than the second, trial by trial.

    Attributes:
        mean: of the differences.  interval: its 95 % interval, None if there is none.
        p: of a difference of 0, two-sided; nan if it cannot be told.  See `bootstrap.Resampling` for both.
        significant: whether p is small enough among all pairs of systems of this number (Holm, 1979, at 5 %).
        trials: how many have both numbers.
    """

    mean: float
    interval: Interval | None
    p: float
    significant: bool
    trials: int

    def facts(self) -> dict[str, Any]:
        """For `metrics.json`."""
        return {
            "mean": self.mean, "ci": list(self.interval) if self.interval else None, "p": self.p,
            "significant": self.significant, "trials": self.trials,
        }  # fmt: skip


Differences = dict[str, dict[tuple[str, str], Difference]]  # by column, by the names of two systems


def differences(systems: Mapping[str, Sequence[Record]], columns: Sequence[Column], seed: int = 0) -> Differences:
    """Every pair of systems, number by number.

    Args:
        systems: records of the same trials in the same order, by the name of the system.
        columns: the numbers.
        seed: of the bootstrap over voices and utterances, which draws the same weights for every pair.
    """
    if len(systems) < 2:
        return {}
    trials = {name: [(r["source"], r["target_speaker"]) for r in records] for name, records in systems.items()}
    assert len(set(map(tuple, trials.values()))) == 1, "systems are compared on the same trials"
    any_records = next(iter(systems.values()))
    drawn = resampling(any_records, seed)
    found: Differences = {}
    for column in columns:
        pairs: dict[tuple[str, str], Difference] = {}
        for a, b in combinations(systems, 2):
            values = [
                float(x.get(column.key, math.nan)) - float(y.get(column.key, math.nan))
                for x, y in zip(systems[a], systems[b], strict=True)
            ]
            used = [i for i, value in enumerate(values) if math.isfinite(value)]
            weights = record_weights(systems[a], column.weight) if column.weight else None
            mean = weighted_mean([values[i] for i in used], None if weights is None else [weights[i] for i in used])
            between = drawn.interval(values, weights, column.share, least=-1.0)
            pairs[a, b] = Difference(mean, between, drawn.p_value(values, weights), False, len(used))
        found[column.key] = _holm(pairs)
    return found


def _holm(pairs: Mapping[tuple[str, str], Difference]) -> dict[tuple[str, str], Difference]:
    """Mark what stays significant when so many pairs are looked at: the smallest p first, until one is too large."""
    known = sorted((d.p, pair) for pair, d in pairs.items() if math.isfinite(d.p))
    marked = dict(pairs)
    for rank, (p, pair) in enumerate(known):
        if p > LEVEL / (len(known) - rank):
            break
        d = pairs[pair]
        marked[pair] = Difference(d.mean, d.interval, d.p, True, d.trials)
    return marked


def ties(summaries: Mapping[str, Summary], column: Column, found: Differences) -> tuple[str, set[str]]:
    """The best system of a number, and those whose distance to it may be chance; "" where no direction is better.

    Args:
        summaries: of one group, by the name of the system.
        column: the number.
        found: see `differences`; a pair that is not in it was not compared.
    """
    known = {name: value for name, s in summaries.items() if math.isfinite(value := s.get(column.key) or math.nan)}
    known |= {name: 0.0 for name, s in summaries.items() if s.get(column.key) == 0}
    if not column.better or len(known) < 2:
        return "", set()
    best = (max if column.better == "higher" else min)(known, key=lambda name: known[name])
    pairs = found.get(column.key, {})
    even = {
        name
        for name in known
        if name != best and (d := pairs.get((best, name)) or pairs.get((name, best))) and not d.significant
    }
    return best, even
