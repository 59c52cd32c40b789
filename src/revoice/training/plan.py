"""Whether what a config says of parts, critics and phases fits together, before any work is done."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from revoice.errors import UserError, choices
from revoice.training.adversary import OWN, TAUGHT, Judging
from revoice.training.objective import Objective
from revoice.training.schedule import Phase, everybody, logged_name

SLOPES = ("penalty", "r1")
BY_CRITICS = tuple(f"{kind}/" for kind in TAUGHT)


def check_plan(
    parts: Collection[str],
    critics: Mapping[str, Judging],
    loss: Mapping[str, Any] | None,
    schedule: Sequence[Phase] | None,
    optimizers: Collection[str],
    measured: Sequence[str],
) -> list[str]:
    """The names of all that will be logged of the losses.

    Args:
        parts: of the model.
        critics: how each judges.
        loss: weights of a turn that has none of its own.
        schedule: phases; None: the one of everybody.
        optimizers: parts whose optimizer is otherwise.
        measured: what the model measures in validation besides.

    Raises:
        UserError: a part that is not there, losses that nobody has, a phase that cannot end or is never reached.
    """
    learners = [*critics, *parts]
    for label, how in critics.items():
        if how.of not in parts:
            raise choices(how.of, parts, f"part that critics.{label} judges (critics.{label}.of)")
    for name in optimizers:
        if name not in learners:
            raise choices(name, learners, "part that learns (optimizers)")
    phases = schedule or (everybody(critics, parts),)
    names = ["train/loss", *(f"val/{name}" for name in measured)]
    names += [f"val/accuracy/{label}" for label, how in critics.items() if how.kind != "wasserstein"]
    for number, phase in enumerate(phases):
        where = f"schedule[{number}]"
        if number + 1 < len(phases) and phase.iterations is None and phase.until is None:
            raise UserError(f"{where}: it never ends, so the next phase never begins: give iterations or until")
        before: list[str] = []
        for turn in phase.turns:
            if turn.waits_for is not None and turn.waits_for not in before:
                raise choices(turn.waits_for, before, f"metric of an earlier turn ({where}, {turn.part}.when)")
            before += _losses(turn, critics, parts, loss, phase.batches == "stored", where)
        names += before
    names += ["val/loss"] if _says_something(phases, critics, loss) else []
    for number, phase in enumerate(phases):
        for metric in sorted(phase.watched):
            if metric not in names:
                raise choices(metric, sorted(set(names)), f"metric that is logged (schedule[{number}])")
    return sorted(set(names))


def check_slopes(schedule: Sequence[Phase], batchwise: Collection[str]) -> None:
    """Refuse a gradient penalty of critics that are `batchwise`: their slope at one item is that of the whole batch.

    Raises:
        UserError: there is one.
    """
    for number, turn in ((number, turn) for number, phase in enumerate(schedule) for turn in phase.turns):
        if turn.part in batchwise and (name := next((name for name in turn.losses or () if name in SLOPES), None)):
            raise UserError(
                f"schedule[{number}], {turn.part}: {name} is of the slope at each item, and under batch normalization "
                f"there is none: take critics.{turn.part}.norm=instance or spectral, or another critic"
            )


def unreached(schedule: Sequence[Phase], max_iterations: int) -> str | None:
    """The first phase that a run is over before, in one line; None where each may be reached.

    >>> from revoice.training.schedule import Turn
    >>> unreached([Phase(turns=(Turn(part="model"),), iterations=9), Phase(turns=(Turn(part="model"),))], 9)
    'schedule[1] begins after iteration 9 at the earliest, and max_iterations=9: it is never reached'
    """
    before = 0
    for number, phase in enumerate(schedule):
        if before >= max_iterations:
            return (
                f"schedule[{number}] begins after iteration {before} at the earliest, and max_iterations="
                f"{max_iterations}: it is never reached"
            )
        before += phase.iterations if phase.iterations is not None and phase.until is None else 1
    return None


def _says_something(phases: Sequence[Phase], critics: Collection[str], loss: Any) -> bool:
    """Whether any part minimizes a loss of the model's own in the end: `val/loss` is the sum of those."""
    last = {turn.part: turn.losses if turn.losses is not None else loss for phase in phases for turn in phase.turns}
    return any(
        weight.value and not name.startswith(BY_CRITICS)
        for part, losses in last.items() if part not in critics
        for name, weight in Objective(losses).weights.items()
    )  # fmt: skip


def _losses(
    turn: Any, critics: Mapping[str, Judging], parts: Collection[str], loss: Any, stored: bool, where: str
) -> list[str]:
    """What is logged of a turn."""
    if turn.part not in (*critics, *parts):
        raise choices(turn.part, [*critics, *parts], f"part that learns ({where})")
    losses = turn.losses if turn.losses is not None else {"critic": 1} if turn.part in critics else loss
    if losses and not any(weight.value for weight in Objective(losses).weights.values()):
        raise UserError(f"{where}: every loss weight of {turn.part} is 0: set one, or leave the turn out")
    if turn.part in critics:
        wanted = list(losses)
        for name in wanted:
            if name not in OWN:
                raise choices(name, OWN, f"loss of critic {turn.part} ({where})")
        return [logged_name(turn.part, name, critics, "train") for name in ["loss", *wanted]]
    if stored:
        raise UserError(f"{where}: {turn.part} cannot learn from stored samples, which have no gradient: batches=live")
    if not losses:
        raise UserError(f"{where}: no losses for {turn.part}: give the turn its losses, or loss")
    wanted = list(losses)
    known = [f"{kind}/{label}" for label, how in critics.items() if how.of == turn.part for kind in TAUGHT]
    for name in wanted:
        if name.startswith(BY_CRITICS) and name not in known:
            raise choices(name, known, f"loss by a critic of {turn.part} ({where})")
    own = [name for name in wanted if name not in known]
    found = [logged_name(turn.part, name, critics, "train") for name in ["loss", *wanted]]
    return found + [logged_name(turn.part, name, critics, "val") for name in own]
