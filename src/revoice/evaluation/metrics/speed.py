"""Speed of conversion."""

from collections.abc import Callable, Sequence

from revoice.evaluation.metrics.base import METRICS, Column, Metric, Result, Values


@METRICS.register("speed")
class Speed(Metric):
    """Real-time factor: wall time of the conversions over seconds of source audio."""

    columns = (
        Column(
            key="real_time_factor",
            title="Real-time factor",
            explain="Time a conversion takes over the length of its audio, vocoder included; lower is better, "
            "under 1 is faster than real time.",
            weight="seconds",
        ),
    )

    def start(self, results: Sequence[Result]) -> Callable[[], list[Values]]:
        """Nothing to wait for."""
        return lambda: [{"real_time_factor": result.wall_seconds / result.seconds} for result in results]
