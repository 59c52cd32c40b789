"""Speed of conversion, and the memory that it takes."""

from collections.abc import Callable, Sequence

from revoice.evaluation.metrics.base import METRICS, Column, Metric, Result, Values


@METRICS.register("speed")
class Speed(Metric):
    """Real-time factor: wall time of the conversions over seconds of source audio; and the memory they needed."""

    columns = (
        Column(
            key="real_time_factor",
            title="Real-time factor",
            explain="Time a conversion takes over the length of its audio, vocoder included; lower is better, "
            "under 1 is faster than real time.",
            weight="seconds",
            better="lower",
        ),
        Column(
            key="peak_memory",
            title="Peak memory",
            explain="Most memory of the process while it converted (of the GPU, if it ran there), what was loaded "
            "before included; lower is better.",
            digits=0,
            unit="MB",
            better="lower",
        ),
    )

    def start(self, results: Sequence[Result]) -> Callable[[], list[Values]]:
        """Nothing to wait for."""
        return lambda: [
            {"real_time_factor": result.wall_seconds / result.seconds, "peak_memory": result.peak_mb}
            for result in results
        ]
