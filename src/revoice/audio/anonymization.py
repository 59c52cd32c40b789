"""Speech whose speaker is hard to tell: signal processing that needs no training, by name in `ANONYMIZERS`."""

import hashlib
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator

from revoice.audio.io import fingerprint
from revoice.mistakes import Expected
from revoice.registry import Registry
from revoice.settings import Positive

ANONYMIZERS: "Registry[Anonymizer]" = Registry("anonymizer", "revoice.audio.anonymizers", typed="anonymizer.{name}")
Signal = NDArray[np.float64]


def _both(value: Any) -> Any:
    """One number stands for a range without width."""
    return value if isinstance(value, list | tuple) else [value, value]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the other way round")
    return value


Drawn = Annotated[
    tuple[Positive, Positive],
    BeforeValidator(_both),
    AfterValidator(_ordered),
    Expected("a positive number, or two in order, [low, high], between which each utterance draws its own"),
]


class Anonymizer(ABC):
    """Samples -> samples of the same length that say the same, less like whoever said them.

    What is random is drawn for each utterance anew, from the seed and from the recording itself: the same recording
    always becomes the same, in whatever order, process or folder it is met, and two recordings of a voice differ.

    Attributes:
        name: registry name, set by the decorator.
        seed: another one draws otherwise.
    """

    name: ClassVar[str]
    seed: int = 0

    def __call__(self, samples: NDArray[Any], sample_rate: int, key: str | None = None) -> NDArray[np.float32]:
        """Anonymize a recording.

        Args:
            samples: (S,) mono.
            sample_rate: Hz.
            key: what draws are tied to, where this is a piece of a longer recording; None: the samples themselves.

        Returns:
            (S,) finite samples.
        """
        if len(samples) < 2:
            return np.zeros(len(samples), np.float32)
        words = f"{self.seed}/{key or fingerprint(samples)}".encode()
        draws = np.random.default_rng(int.from_bytes(hashlib.sha256(words).digest()[:16], "big"))
        made = self.change(np.ascontiguousarray(samples, dtype=np.float64), sample_rate, draws)
        made = np.nan_to_num(made[: len(samples)]).astype(np.float32)
        return np.pad(made, (0, len(samples) - len(made)))

    @abstractmethod
    def change(self, samples: Signal, sample_rate: int, draws: np.random.Generator) -> Signal:
        """What becomes of (S,) samples; cut or filled up to S by the caller. Constants are drawn before noise."""


def between(draws: np.random.Generator, drawn: tuple[float, float]) -> float:
    """A number of a range, all ratios equally likely.

    >>> between(np.random.default_rng(0), (2.0, 2.0))
    2.0
    """
    low, high = np.log(drawn)
    return float(np.exp(low + (high - low) * draws.random())) if low < high else float(drawn[0])
