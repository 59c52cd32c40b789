"""Three attackers, each knowing more than the one before (the VoicePrivacy Challenge: Tomashenko et al., 2022)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from revoice.evaluation.eer import EqualError, equal_error
from revoice.evaluation.privacy.cast import Cast
from revoice.evaluation.verification import enrol

Attacker = Literal["ignorant", "semi_informed", "informed"]
ATTACKERS: dict[Attacker, str] = {
    "ignorant": "knows the voices by their true recordings, and of no anonymization",
    "semi_informed": "knows the voices by recordings anonymized in the same way, by draws of its own",
    "informed": "has also learned, from other voices so anonymized, what varies within one and tells nothing",
}
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Embedded:
    """What a verifier makes of a cast: vectors (N, D) in the order of its utterances.

    Attributes:
        original: the enrolled recordings as they are.
        enrolled: the same, anonymized by the attacker.
        asked: anonymized by whoever hides.
        strangers: anonymized by the attacker; (0, D) if there are none.
    """

    original: Vectors
    enrolled: Vectors
    asked: Vectors
    strangers: Vectors


@dataclass(frozen=True)
class Trials:
    """Questions "is this recording of that voice?", enrolled voice by recording.

    Attributes:
        voices: the enrolled ones.
        asked: places of the recordings asked about.  voice: places of the voices asked for.
        same: whether the answer is yes.
        pairs: names of both voices.
        same_gender: whether questions across genders are left out.
    """

    voices: list[str]
    asked: NDArray[np.int64]
    voice: NDArray[np.int64]
    same: NDArray[np.bool_]
    pairs: list[tuple[str, str]]
    same_gender: bool


def make_trials(cast: Cast, same_gender: bool) -> Trials:
    """Every recording with every voice; with `same_gender` with none of the other gender, where both are known."""
    gender = {u.row.speaker: u.row.gender for u in cast.enrolled}
    asked, voice = [], []
    for a, utterance in enumerate(cast.asked):
        for v, name in enumerate(cast.speakers):
            known = None not in (utterance.row.gender, gender[name])
            if not (same_gender and known and utterance.row.gender != gender[name]):
                asked.append(a)
                voice.append(v)
    pairs = [(cast.speakers[v], cast.asked[a].row.speaker) for a, v in zip(asked, voice, strict=True)]
    same = np.array([a == b for a, b in pairs])
    return Trials(cast.speakers, np.array(asked), np.array(voice), same, pairs, same_gender)


def attack(cast: Cast, trials: Trials, vectors: Embedded, seed: int = 0) -> dict[Attacker, EqualError]:
    """The equal error rate of each attacker; no informed one without two strangers."""
    found: dict[Attacker, EqualError] = {
        "ignorant": _judged(cast, trials, vectors.original, vectors.asked, seed),
        "semi_informed": _judged(cast, trials, vectors.enrolled, vectors.asked, seed),
    }
    names = [u.row.speaker for u in cast.strangers]
    if len({*names}) > 1:
        enrolled, asked = learned(vectors.strangers, names, vectors.enrolled, vectors.asked)
        found["informed"] = _judged(cast, trials, enrolled, asked, seed)
    return found


def learned(strangers: Vectors, names: Sequence[str], *others: Vectors) -> list[Vectors]:
    """Vectors in which what varies within anonymized voices is made small and even, each of length 1.

    Within-class covariance normalization in all dimensions (Hatch, Kajarekar and Stolcke, "Within-class covariance
    normalization for SVM-based speaker recognition", Interspeech 2006), about the strangers' mean, then each length
    scaled to 1 (Garcia-Romero and Espy-Wilson, "Analysis of i-vector length normalization in speaker recognition
    systems", Interspeech 2011). How far the covariance is shrunk to an even one follows from the strangers (Ledoit and
    Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis
    88(2), 2004). How voices differ from each other is not learned: some dozens do not tell.

    Args:
        strangers: (N, D), what is learned from.  names: (N,) of their voices.
        others: (M, D) each.
    """
    from sklearn.covariance import ledoit_wolf

    _, whose = np.unique(names, return_inverse=True)
    voices = np.stack([strangers[whose == voice].mean(axis=0) for voice in range(whose.max() + 1)])
    covariance, _ = ledoit_wolf(strangers - voices[whose], assume_centered=True)
    values, axes = np.linalg.eigh(covariance)
    whitening = axes / np.sqrt(np.maximum(values, 1e-12))
    seen = (((vectors - strangers.mean(axis=0)) @ whitening).astype(np.float32) for vectors in others)
    return [vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9) for vectors in seen]


def _judged(cast: Cast, trials: Trials, enrolled: Vectors, asked: Vectors, seed: int) -> EqualError:
    """Cosines of recordings to the mean of what each voice is known by."""
    whose = np.array([u.row.speaker for u in cast.enrolled])
    voices = np.stack([enrol(enrolled[whose == name]) for name in trials.voices])
    scores = np.einsum("nd,nd->n", voices[trials.voice], asked[trials.asked])
    return equal_error(scores, trials.same, trials.pairs, seed)
