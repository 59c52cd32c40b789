"""Checks of the sound itself: level, silence, clipping, noise, and whether it is a recording that was given."""

from collections.abc import Callable, Sequence

import numpy as np

from revoice.audio.io import Audio
from revoice.audio.loudness import loudness_db
from revoice.evaluation.likeness import flatness_db, likeness
from revoice.evaluation.metrics.base import METRICS, Column, Metric, Result, Values
from revoice.evaluation.workers import Workers

QUIET_DB = -60.0  # of full scale
FULL = 0.999
_FRAME = 0.02  # seconds


@METRICS.register("sound")
class Sound(Metric):
    """What a listener would notice first.

    Args:
        workers: where the clips are looked at; default this process.
    """

    columns = (
        Column(
            key="level_change",
            title="Loudness against the source",
            explain="Loudness of the conversion over that of the source (BS.1770); 0 is as loud.",
            digits=1,
            unit="dB",
        ),
        Column(
            key="silence",
            title="Silence",
            explain="Share of the time that is under -60 dB of full scale; far more than in speech means that "
            "something is missing.",
            if_failed=1.0,
        ),
        Column(
            key="clipping",
            title="Clipping",
            explain="Share of the samples at full scale; lower is better, 0 is none.",
            digits=4,
            better="lower",
        ),
        Column(
            key="flatness",
            title="Spectral flatness",
            explain="White noise has about -2.5 dB, speech less than -10.",
            digits=1,
            unit="dB",
        ),
        Column(
            key="like_reference",
            title="Likeness to the reference clip",
            explain="Correlation of levels over time and frequency with the clip that was given as the target voice, "
            "where they agree best; near 1, the system plays it back.",
        ),
        Column(key="like_source", title="Likeness to the source"),
    )

    def __init__(self, workers: Workers | None = None) -> None:
        self.workers = workers or Workers()

    def start(self, results: Sequence[Result]) -> Callable[[], list[Values]]:
        """Hand every conversion to the workers."""
        jobs = [self.workers.submit(look, r.converted, r.source, r.references[:3]) for r in results]
        return lambda: [job.result() for job in jobs]


def look(converted: Audio, source: Audio, references: Sequence[Audio]) -> Values:
    """The values of one conversion; nan where there is nothing to compare."""
    level, own = (loudness_db(clip.samples, clip.sample_rate) for clip in (converted, source))
    found = [likeness(converted, reference) for reference in references]
    return {
        "level_change": level - own if np.isfinite([level, own]).all() else np.nan,
        "silence": silence(converted),
        "clipping": float(np.mean(np.abs(converted.samples) >= FULL)),
        "flatness": flatness_db(converted),
        "like_reference": max((value for value in found if np.isfinite(value)), default=np.nan),
        "like_source": likeness(converted, source),
    }


def silence(clip: Audio) -> float:
    """Share of frames of 20 ms whose level is under -60 dB of full scale.

    >>> silence(Audio(np.concatenate([np.zeros(1200), np.ones(400)]).astype(np.float32), 4000))
    0.75
    """
    size = max(1, round(_FRAME * clip.sample_rate))
    count = max(1, len(clip.samples) // size)
    frames = clip.samples[: count * size].reshape(count, -1).astype(np.float64)
    return float(np.mean((frames**2).mean(1) < 10 ** (QUIET_DB / 10)))
