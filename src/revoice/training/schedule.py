"""Who learns when: phases of a run, turns of an iteration, and gates that let a part rest."""

import logging
import operator
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from revoice.errors import UserError
from revoice.mistakes import Expected
from revoice.settings import Count, Flag, Natural, NotNegative, Number, Word, checked, from_mapping, settings
from revoice.trainable import MODEL
from revoice.training.objective import Objective, Weights

log = logging.getLogger(__name__)
SMOOTHING = 0.95  # of the metrics of training that decide something: the weight of what was before
_CONDITION = re.compile(r"\s*(\S+)\s*([<>])\s*(\S+)\s*")
_EXPECTED = "METRIC > NUMBER or METRIC < NUMBER, e.g. 'val/accuracy/patch > 0.9'"


@dataclass(frozen=True)
class Condition:
    """That a metric is above or below a number.

    >>> Condition.parse("val/loss < 0.5").holds(0.4)
    True
    """

    metric: str
    above: bool
    limit: float

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read what a person typed; what it is not is a `ValueError`."""
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise ValueError(_EXPECTED)
        return cls(found[1], found[2] == ">", checked(Number, found[3], "the limit"))

    def holds(self, value: float) -> bool:
        """Whether it is so; never for NaN."""
        return (operator.gt if self.above else operator.lt)(value, self.limit)


def _is_condition(text: str) -> str:
    try:
        Condition.parse(text)
    except UserError as error:
        raise ValueError(_EXPECTED) from error
    return text


@settings
class Turn:
    """One part learns from the iteration's batch.

    Attributes:
        part: of the model, or a critic.
        losses: weights by name, see `Objective`. A critic has `critic`, and `penalty`, `r1` or `class` where wanted; a
            part of the model has its own losses and, of every critic that it is to please, `adversarial/CRITIC`,
            `matching/CRITIC` and `class/CRITIC`. None: `loss` for the model, `{critic: 1}` for a critic.
        every: only in each so many iterations of the phase.
        clip: largest global norm of the part's gradient; None is `trainer.clip`.
        when: only if this holds of what an earlier turn of the same iteration measured, not smoothed, e.g.
            "train/critic/patch < 0.65": the adaptive switch of fastai, by which a critic learns alone until it is good.
    """

    part: Word
    losses: Weights | None = None
    every: Count = 1
    clip: NotNegative | None = None
    when: Annotated[Word, AfterValidator(_is_condition), Expected(_EXPECTED)] | None = None

    @property
    def waits_for(self) -> str | None:
        """The metric that `when` looks at."""
        return Condition.parse(self.when).metric if self.when else None


@settings
class Gate:
    """A part rests when a metric falls below `stop_below`, until it rises above `go_above`."""

    metric: Word
    stop_below: Number
    go_above: Number

    def __post_init__(self) -> None:
        if self.go_above < self.stop_below:
            raise UserError(f"go_above={self.go_above} is below stop_below={self.stop_below}: the gate could not close")


@settings
class Phase:
    """A stretch of a run in which the same turns are taken.

    Attributes:
        turns: of each iteration, one after the other.
        iterations: how long it lasts; None until `until`, or to the end of the run. With the last phase the run ends.
        until: ends it when this holds, e.g. "val/accuracy/patch > 0.9".
        batches: "live" samples, made as the model is now, or "stored" ones that `data.generated_by` made once: critics
            may learn from them alone.
        patience: how many times in a row `until` must hold.
        gates: by part.
    """

    turns: Annotated[tuple[Turn, ...], Field(min_length=1)]
    batches: Literal["live", "stored"] = "live"
    iterations: Count | None = None
    until: Annotated[Word, AfterValidator(_is_condition), Expected(_EXPECTED)] | None = None
    patience: Count = 1
    gates: dict[Word, Gate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = [turn.part for turn in self.turns]
        if twice := next((part for part in parts if parts.count(part) > 1), None):
            raise UserError(f"two turns of {twice} in one phase: give one turn with all its losses")
        if unknown := next((part for part in self.gates if part not in parts), None):
            raise UserError(f"a gate for {unknown}, which has no turn in this phase: its turns are {', '.join(parts)}")

    @property
    def watched(self) -> set[str]:
        """The metrics that decide something."""
        found = {gate.metric for gate in self.gates.values()}
        return found | {Condition.parse(self.until).metric} if self.until else found


Phases = Annotated[tuple[Phase, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Due:
    """A turn that is due.

    Attributes:
        turn: which.  objective: its weights.
        learns: False where a gate lets the part rest; its losses are measured all the same, for the gate to open again.
        at: iterations of the phase that were before.
    """

    turn: Turn
    objective: Objective
    learns: bool
    at: int


class Schedule:
    """The phases of a run, and where it is in them.

    Args:
        phases: in order; the last one goes on to the end of the run, or ends it where it has an end of its own.
        default: weights of a turn that has none, by part.

    Attributes:
        over: whether the last phase has come to its end.
    """

    def __init__(self, phases: Sequence[Phase], default: Mapping[str, Mapping[str, Any]]) -> None:
        self.phases = tuple(phases)
        self._objectives = [
            [Objective(turn.losses if turn.losses is not None else default[turn.part]) for turn in phase.turns]
            for phase in self.phases
        ]
        self.number, self.began, self._streak = 0, 0, 0
        self.over = False
        self._means: dict[str, float] = {}
        self._closed: set[str] = set()

    @property
    def phase(self) -> Phase:
        """The current one."""
        return self.phases[self.number]

    def objective(self, part: str) -> Objective | None:
        """The last weights that a part learns by, by which validation compares iterations; None if it never learns."""
        turns = [pair for number in range(len(self.phases)) for pair in self.turns(number)]
        found = [objective for turn, objective in turns if turn.part == part]
        return found[-1] if found else None

    def turns(self, number: int) -> list[tuple[Turn, Objective]]:
        """Those of a phase, by its number, with their weights."""
        return list(zip(self.phases[number].turns, self._objectives[number], strict=True))

    def due(self, iteration: int) -> list[Due]:
        """The turns of an iteration, counted from 0, in order."""
        at = iteration - self.began
        pairs = self.turns(self.number)
        return [Due(t, weights, t.part not in self._closed, at) for t, weights in pairs if at % t.every == 0]

    def rests(self, part: str) -> bool:
        """Whether a part does not learn now: it has no turn in this phase, or a gate is closed."""
        return part in self._closed or all(turn.part != part for turn in self.phase.turns)

    def finish(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Take note of what an iteration measured; the next one may be of another phase."""
        for name in self.phase.watched & metrics.keys():
            before = self._means.get(name, metrics[name])
            self._means[name] = SMOOTHING * before + (1 - SMOOTHING) * metrics[name]
        self._decide({name: self._means[name] for name in metrics.keys() & self._means.keys()}, iteration + 1)

    def validated(self, done: int, metrics: Mapping[str, float]) -> None:
        """Take note of what the validation after `done` iterations found; it is not smoothed."""
        self._decide({name: metrics[name] for name in self.phase.watched & metrics.keys()}, done)

    def state_dict(self) -> dict[str, Any]:
        """Where it is, plain values."""
        return {
            "phase": self.number, "began": self.began, "streak": self._streak,
            "means": dict(self._means), "closed": sorted(self._closed), "over": self.over,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; a state of other phases than these is a `UserError`."""
        found = from_mapping(_State, state, "the schedule of the checkpoint")
        if found.phase >= len(self.phases):
            raise UserError(f"the checkpoint is in phase {found.phase + 1}, this schedule has {len(self.phases)}")
        self.number, self.began, self._streak = found.phase, found.began, found.streak
        self.over = found.over and found.phase + 1 == len(self.phases)
        self._means, self._closed = dict(found.means), set(found.closed) & self.phase.gates.keys()

    def _decide(self, values: Mapping[str, float], done: int) -> None:
        """Open and close the gates by the newest values, and see whether the phase is over."""
        for part, gate in self.phase.gates.items():
            value = values.get(gate.metric)
            if value is not None and value < gate.stop_below:
                self._closed.add(part)
            if value is not None and value > gate.go_above:
                self._closed.discard(part)
        if self.phase.until is not None:
            condition = Condition.parse(self.phase.until)
            if condition.metric in values:
                self._streak = self._streak + 1 if condition.holds(values[condition.metric]) else 0
        limit = self.phase.iterations
        over = self._streak >= self.phase.patience or (limit is not None and done - self.began >= limit)
        if over and self.number + 1 == len(self.phases):
            self.over = True
        elif over:
            self.number, self.began, self._streak = self.number + 1, done, 0
            self._means, self._closed = {}, set()
            log.info("iteration %d: phase %d of %d begins", done, self.number + 1, len(self.phases))


@settings
class _State:
    """What `Schedule.state_dict` gives."""

    phase: Natural
    began: Natural
    streak: Natural
    means: dict[Word, Number]
    closed: tuple[Word, ...]
    over: Flag = False


def logged_name(part: str, name: str, critics: Collection[str], split: str) -> str:
    """What a part's loss is called in the logs."""
    if part in critics:
        return f"{split}/{'total' if name == 'loss' else name}/{part}"
    return f"{split}/{name}" if part == MODEL else f"{split}/{part}/{name}"


def everybody(critics: Collection[str], parts: Collection[str]) -> Phase:
    """The phase in which all critics learn, then all parts of the model."""
    return Phase(turns=tuple(Turn(part=name) for name in (*critics, *parts)))
