"""Whose voice is it: cosine similarity to enrolled voices, by a speaker encoder from the registry `VERIFIERS`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from revoice.audio.io import Audio
from revoice.registry import Registry

VERIFIERS: "Registry[Verifier]" = Registry("verifier", "revoice.evaluation.verifiers")


class Verifier(ABC):
    """A network that maps speech to a point on the unit sphere, near other speech of the same voice.

    Attributes:
        name: registry name, set by the decorator.
    """

    name: ClassVar[str]

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
