"""What sampled speaker embeddings are worth: their gender, how unlike each other they are, whether they are copies."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from revoice.data.read.tables import GENDERS
from revoice.evaluation.pictures import CROSS, GRAY, SAME, in_gray, new_figure, to_png

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


def voices_picture(voices: tuple[Tensor, Tensor], made: tuple[Tensor, Tensor]) -> bytes:
    """Real voices (dots) and sampled ones (crosses) on the two axes along which the real ones differ most: PNG bytes.

    Args:
        voices, made: embeddings (N, D) and places of their genders in `GENDERS` (N,).
    """
    real = _unit(voices[0])
    middle = real.mean(0)
    axes = np.linalg.svd(real - middle, full_matrices=False)[2][:2].T
    figure = new_figure(7.0, 4.0)
    panel = figure.add_axes((0.1, 0.13, 0.86, 0.82))
    dots, crosses = {"s": 9, "alpha": 0.35, "linewidths": 0}, {"s": 22, "alpha": 0.9, "linewidths": 1, "marker": "x"}
    groups: list[tuple[str, Vectors, Tensor, dict[str, Any]]] = [
        ("real", real, voices[1], dots), ("sampled", _unit(made[0]), made[1], crosses),
    ]  # fmt: skip
    for kind, vectors, genders, how in groups:
        for place, (letter, color) in enumerate(zip(GENDERS, (CROSS, SAME), strict=True)):
            x, y = ((vectors - middle) @ axes)[genders.numpy() == place].T
            panel.scatter(x, y, color=color, label=f"{kind}, {letter}", **how)
    panel.set(xlabel="first principal component", ylabel="second")
    panel.legend(frameon=False, labelcolor=GRAY)
    in_gray(panel)
    return to_png(figure)


def _unit(vectors: Tensor) -> Vectors:
    """(N, D) of length 1."""
    found = vectors.double().numpy()
    return found / np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-12)


def _mean_cosine(vectors: Vectors) -> float:
    """Of all pairs of different rows (N, D) of length 1."""
    count = len(vectors)
    return float((np.square(vectors.sum(0)).sum() - count) / (count * (count - 1)))
