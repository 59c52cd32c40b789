"""Distance to the target's true recording, and the course of the pitch."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from revoice.audio.io import Audio
from revoice.errors import UserError
from revoice.evaluation.mcd import Analysis, analyze, distortion
from revoice.evaluation.metrics.base import METRICS, Column, Metric, Result, Values
from revoice.evaluation.pitch_metrics import agreement, agreement_along, voicing_error
from revoice.evaluation.workers import Workers

Analyzed = Future[Analysis | None]


@METRICS.register("spectral")
class Spectral(Metric):
    """Mel-cepstral distortion and pitch agreement, from one WORLD analysis of each clip.

    Args:
        workers: where the analyses run; default this process.
    """

    columns = (
        Column(
            key="mcd_converted",
            title="Mel-cepstral distortion",
            explain="Spectral distance to the target truly saying the sentence; lower is better.",
            digits=2,
            unit="dB",
            better="lower",
            floor="mcd_unconverted",
            ceiling="mcd_ceiling",
        ),
        Column(
            key="f0_correlation",
            title="Pitch correlation with the source",
            explain="Whether the melody of the source is kept (correlation of log f0, frame by frame); "
            "higher is better, 1 is the same melody.",
            better="higher",
        ),
        Column(
            key="f0_rmse_cents",
            title="Pitch distance to the source",
            explain="Distance of the pitch from the source's, register included (1200 cents are an octave); "
            "lower only where the pitch should not change.",
            digits=0,
            unit="cents",
        ),
        Column(
            key="voicing_error",
            title="Voicing error",
            explain="Share of the frames that are voiced in the conversion and not in the source, or the reverse; "
            "lower is better.",
            better="lower",
        ),
        Column(
            key="f0_correlation_target",
            title="Pitch correlation with the true target",
            explain="Whether the melody is the one of the target's own recording; higher is closer.",
            better="higher",
        ),
        Column(
            key="f0_rmse_cents_target",
            title="Pitch distance to the true target",
            explain="Distance of the pitch from the target's own recording, register included; lower is better.",
            digits=0,
            unit="cents",
            better="lower",
        ),
        Column(key="mcd_unconverted", title="Distortion of the unconverted source", digits=2, unit="dB"),
        Column(key="mcd_ceiling", title="Distortion of the resynthesized true target", digits=2, unit="dB"),
    )

    def __init__(self, workers: Workers | None = None) -> None:
        self.workers = workers or Workers()
        self._recordings: dict[str, Analyzed] = {}
        self.begin()

    def begin(self) -> None:
        """See `Metric`."""
        self._ceilings: dict[str, Analyzed] = {}  # by row id

    def start(self, results: Sequence[Result]) -> Callable[[], list[Values]]:
        """Hand all analyses to the workers; comparisons follow when they are waited for."""
        parts = []
        for result in results:
            truth = result.trial.true_target
            parts.append(
                (
                    self._analyze(result.converted),
                    self._once(self._recordings, result.trial.source.id, result.source),
                    self._once(self._recordings, truth.id, result.true_target) if truth else None,
                    self._once(self._ceilings, truth.id, result.ceiling) if truth else None,
                )
            )

        def finish() -> list[Values]:
            analyses = [[part and part.result() for part in four] for four in parts]
            jobs = [self.workers.submit(compare, *four) for four in analyses]
            return [job.result() for job in jobs]

        return finish

    def _once(self, known: dict[str, Analyzed], key: str, clip: Audio | None) -> Analyzed | None:
        if clip is not None and key not in known:
            known[key] = self._analyze(clip)
        return known.get(key)

    def _analyze(self, clip: Audio) -> Analyzed:
        return self.workers.submit(try_analyze, clip.samples, clip.sample_rate)


def try_analyze(samples: NDArray[np.float32], rate: int) -> Analysis | None:
    """`analyze`, but None for a clip that has no answer (silent, too short)."""
    try:
        return analyze(samples, rate)
    except UserError:
        return None


def compare(
    converted: Analysis | None, source: Analysis | None, truth: Analysis | None, ceiling: Analysis | None
) -> Values:
    """The values of one conversion from the analyses of its clips; nan where one is missing."""
    values = dict.fromkeys((column.key for column in Spectral.columns), float("nan"))
    if converted and source:
        kept = agreement(converted.f0, source.f0)
        values |= {"f0_correlation": kept.correlation, "f0_rmse_cents": kept.rmse_cents}
        values["voicing_error"] = voicing_error(converted.f0, source.f0)
    if converted and truth:
        reached = distortion(converted, truth)
        pitch = agreement_along(converted, truth, reached.path)
        values |= {"mcd_converted": reached.mcd}
        values |= {"f0_correlation_target": pitch.correlation, "f0_rmse_cents_target": pitch.rmse_cents}
    if source and truth:
        values["mcd_unconverted"] = distortion(source, truth).mcd
    if ceiling and truth:
        values["mcd_ceiling"] = distortion(ceiling, truth).mcd
    return values
