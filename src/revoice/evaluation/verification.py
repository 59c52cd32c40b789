"""Whose voice is it: cosine similarity to enrolled voices, by a speaker encoder from the registry `VERIFIERS`."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from revoice.audio.io import Audio
from revoice.errors import UserError, choices
from revoice.registry import Registry

log = logging.getLogger(__name__)
VERIFIERS: "Registry[Verifier]" = Registry("verifier", "revoice.evaluation.verifiers")


class Verifier(ABC):
    """A network that maps speech to a point on the unit sphere, near other speech of the same voice.

    Attributes:
        name: registry name, set by the decorator.
        weights: which, as far as that can be told.
    """

    name: ClassVar[str]
    weights: str = ""

    @classmethod
    def missing(cls) -> str:
        """What has to be there before it can be built without settings; "" if nothing is missing."""
        return ""

    @abstractmethod
    def embed(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        """Embeddings (N, D) of N clips of any rate and length, each of length 1."""


@dataclass(frozen=True)
class Verdict:
    """How a clip compares with two voices.

    Attributes:
        cosine_target, cosine_source: similarity to each enrolment, -1..1.
    """

    cosine_target: float
    cosine_source: float

    @property
    def closer_to_target(self) -> bool:
        """Whether a verifier that must choose would say "the target"."""
        return self.cosine_target > self.cosine_source


def enrol(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """A voice (D,) from embeddings (N, D) of its clips: their mean, scaled to length 1.

    >>> enrol(np.array([[1.0, 0.0], [0.0, 1.0]])).round(3).tolist()
    [0.707, 0.707]
    """
    assert len(embeddings), "a voice needs at least one clip"
    mean = embeddings.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def judge(clip: NDArray[np.float32], target: NDArray[np.float32], source: NDArray[np.float32]) -> Verdict:
    """Compare one embedding (D,) with the enrolments (D,) of the target and the source voice."""
    return Verdict(float(clip @ target), float(clip @ source))


def check_verifier(given: Mapping[str, Any] | str | None, what: str, also: Collection[str] = ()) -> None:
    """Refuse what names no verifier, without loading anything; `also` are names that mean something else."""
    name, settings = _named(given, what)
    if name is None or name in also:
        if settings:
            raise UserError(f"{what}.{next(iter(settings))}: of which verifier? Type {what}.name=voiceprint")
        return
    if name not in VERIFIERS.names():
        raise choices(name, [*VERIFIERS.names(), *also], f"{what}.name")
    VERIFIERS.check(name, settings, what)


def second_verifier(
    given: Mapping[str, Any] | str | None, circular: Collection[str], device: str = "cpu"
) -> tuple[Verifier | None, str]:
    """Who judges the voices beside Resemblyzer, and what the report has to say if nobody does.

    Args:
        given: name or `{name: ..., setting: ...}`; None: nobody; "auto": the one that ships where Resemblyzer is
            circular.
        circular: names of the systems for which it is.
        device: where networks run.
    """
    name, settings = _named(given, "metrics.second_verifier")
    if name is None or (name == "auto" and not circular):
        return None, ""
    if name != "auto":
        return VERIFIERS.build(name, settings, {"device": device}), ""
    if reason := VERIFIERS.get("voiceprint").missing():
        log.warning("resemblyzer is circular for %s and there is no second verifier: %s", ", ".join(circular), reason)
        return None, f"There is no second verifier: {reason}."
    return VERIFIERS.build("voiceprint", {}, {"device": device}), ""


def _named(given: Mapping[str, Any] | str | None, what: str) -> tuple[str | None, dict[str, Any]]:
    if given is None or isinstance(given, str):
        return given, {}
    values = {str(key): value for key, value in given.items() if value is not None}
    name = values.pop("name", None)
    if name is None and values:
        raise UserError(f"{what} has settings but no name: type {what}.name=voiceprint")
    return None if name is None else str(name), values
