"""The work of a preparation worker: decode some utterances once and compute every field that is wanted of them."""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from revoice.data.fields.base import Field
from revoice.data.fields.clip import Clip, load_clip

T = TypeVar("T")
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)  # a full disk, too many open files


@dataclass(frozen=True)
class Chunk:
    """A few utterances of one shard; what is in a chunk depends on the corpus alone, never on the number of workers.

    Attributes:
        shard: index of the shard.
        last: whether the shard ends with this chunk.
        utterances: (id, path relative to the root, absolute file) of each.
        fields: what to compute.
        trim_db: see `load_clip`.
        problems: by id, why an utterance is rejected without looking at it (`Row.problem`).
        phones: by id, what is said, of the utterances of which that is known (`Row.phones`).
    """

    shard: int
    last: bool
    utterances: tuple[tuple[str, str, Path], ...]
    fields: tuple[Field, ...]
    trim_db: float | None
    problems: Mapping[str, str] = field(default_factory=dict)
    phones: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of one utterance: for each field (by label) an array, or the reason why there is none.

    `seconds` and `start` are those of the `Clip`.
    """

    id: str
    path: str
    seconds: float = 0.0
    start: float = 0.0
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def compute_chunk(chunk: Chunk) -> list[Outcome]:
    """Decode, trim and compute; an utterance that fails is reported, not raised."""
    outcomes: list[Outcome] = []
    clips: list[Clip] = []
    for id, path, file in chunk.utterances:
        problem = chunk.problems.get(id)
        clip = problem if problem else _attempt(partial(load_clip, file, chunk.trim_db))
        if isinstance(clip, str):
            outcomes.append(_rejected(chunk, id, path, clip.removeprefix(f"{_line(str(file))}: ")))
        else:
            outcomes.append(Outcome(id, path, clip.seconds, clip.start))
            clips.append(replace(clip, phones=chunk.phones.get(id)))
    usable = [outcome for outcome in outcomes if not outcome.reasons]
    for f in chunk.fields:
        for outcome, result in zip(usable, _compute(f, clips), strict=True):
            if isinstance(result, str):
                outcome.reasons[f.label] = result
            else:
                outcome.arrays[f.label] = result
    return outcomes


def rescue_chunk(chunk: Chunk, attempt: Callable[[Chunk], list[Outcome] | None]) -> list[Outcome]:
    """Outcomes of a chunk that killed its worker, or that it has no memory for: one utterance at a time.

    The one to blame is rejected.
    """
    outcomes = []
    for id, path, file in chunk.utterances:
        one = replace(chunk, utterances=((id, path, file),))
        try:
            outcomes += attempt(one) or [_rejected(one, id, path, "crashes the process that reads it")]
        except MemoryError:
            outcomes.append(_rejected(one, id, path, "needs more memory than there is"))
    return outcomes


def _rejected(chunk: Chunk, id: str, path: str, reason: str) -> Outcome:
    return Outcome(id, path, reasons={f.label: reason for f in chunk.fields})


def _compute(f: Field, clips: Sequence[Clip]) -> list[np.ndarray | str]:
    """One call for all clips; if that fails, one call each to find out which is to blame."""
    together = _attempt(partial(f.compute, clips)) if clips else []
    if isinstance(together, str):
        single = [_attempt(partial(f.compute, [clip])) for clip in clips]
        return [result if isinstance(result, str) else _stored(f, result[0]) for result in single]
    return [_stored(f, result) for result in together]


def _stored(f: Field, array: np.ndarray) -> np.ndarray | str:
    """The array in its type on disk, or why it cannot be stored."""
    with np.errstate(over="ignore"):
        stored = array.astype(f.dtype, order="C")
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        return f"{f.label} is not finite as {f.dtype}"
    return stored


def _attempt(action: Callable[[], T]) -> T | str:
    """The result of `action`, or its error as one line.

    A missing package or memory and a full disk are not the utterance's fault: those are raised.
    """
    try:
        return action()
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # one bad file among thousands must not end hours of work
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in _OF_THE_MACHINE:
            raise cause from None
        return _line(str(error)) or type(error).__name__


def _line(text: str) -> str:
    return " ".join(text.split())
