"""What sampled speaker embeddings are worth: their gender, how unlike each other they are, whether they are copies."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from revoice.data.read.tables import GENDERS

Vectors = NDArray[np.float64]


@dataclass(frozen=True)
class NewVoices:
    """Samples beside real voices; distances are 1 - cosine.

    Attributes:
        gender: share of the samples whose gender is right, as a classifier of real voices hears it.
        gender_real: that classifier's share on real voices that it was not fitted to.
        spread: mean cosine of two samples, by gender.  spread_real: of two real voices.
        nearest: distance of a sample to the nearest training voice that one in a hundred samples falls below.
        nearest_real: that of a training voice to the nearest other one.
        closer: share of the samples nearer to a training voice than that; 0.01 where they are as unlike as real ones.
    """

    gender: float
    gender_real: float
    spread: dict[str, float]
    spread_real: dict[str, float]
    nearest: float
    nearest_real: float
    closer: float

    def lines(self) -> list[str]:
        """For people."""
        found = [f"gender right          {self.gender:.3f} of samples, {self.gender_real:.3f} of held-out real voices"]
        for letter in GENDERS:
            found.append(
                f"mean cosine, {letter}        {self.spread[letter]:.3f} samples, {self.spread_real[letter]:.3f} real"
            )
        found.append(f"nearest, 1st percentile {self.nearest:.4f} samples, {self.nearest_real:.4f} real")
        return [*found, f"nearer than that       {self.closer:.3f} of samples"]

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def judge_voices(
    sample: Callable[[str, int], Tensor],
    voices: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    count: int = 1000,
) -> NewVoices:
    """Judge samples, half of them women, by real voices.

    Args:
        sample: gender ("F" or "M") and number of a voice -> its embedding (1, D) or (D,).
        voices: embeddings (N, D) that were trained on, one per voice, and places of their genders in `GENDERS` (N,).
        held_out: likewise of voices that were not trained on.
        count: samples in all.
    """
    real, genders = _unit(voices[0]), voices[1].numpy()
    wanted = np.arange(count) % len(GENDERS)
    made = np.stack([_unit(sample(GENDERS[g], number).reshape(1, -1))[0] for number, g in enumerate(wanted)])
    listener = LogisticRegression(C=100.0, max_iter=2000, class_weight="balanced").fit(real, genders)
    own = real @ real.T
    np.fill_diagonal(own, -1.0)
    nearest_real, nearest = 1 - own.max(1), 1 - (made @ real.T).max(1)
    limit = float(np.quantile(nearest_real, 0.01))
    return NewVoices(
        gender=float((listener.predict(made) == wanted).mean()),
        gender_real=float((listener.predict(_unit(held_out[0])) == held_out[1].numpy()).mean()),
        spread={letter: _mean_cosine(made[wanted == g]) for g, letter in enumerate(GENDERS)},
        spread_real={letter: _mean_cosine(real[genders == g]) for g, letter in enumerate(GENDERS)},
        nearest=float(np.quantile(nearest, 0.01)),
        nearest_real=limit,
        closer=float((nearest < limit).mean()),
    )


def _unit(vectors: Tensor) -> Vectors:
    """(N, D) of length 1."""
    found = vectors.double().numpy()
    return found / np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-12)


def _mean_cosine(vectors: Vectors) -> float:
    """Of all pairs of different rows (N, D) of length 1."""
    count = len(vectors)
    return float((np.square(vectors.sum(0)).sum() - count) / (count * (count - 1)))
