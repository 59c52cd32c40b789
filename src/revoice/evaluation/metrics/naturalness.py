"""How natural it sounds, as far as a network can tell: DNSMOS."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np

from revoice.audio.io import Audio, resample
from revoice.errors import UserError
from revoice.evaluation.metrics.base import METRICS, Column, Metric, Result, Values
from revoice.evaluation.recognition import RATE

PACKAGES = ("speechmos", "onnxruntime")


@METRICS.register("naturalness")
class Naturalness(Metric):
    """DNSMOS P.835 and P.808 (Reddy et al., ICASSP 2022 and 2021), by the package speechmos, on the CPU.

    It was trained on noisy and denoised speech, not on conversions: of two systems it tells which is noisier, not which
    a listener would take for a person.
    """

    columns = (
        Column(
            key="dnsmos",
            title="DNSMOS, overall",
            explain="Predicted opinion of listeners from 1 to 5 on noise and distortion (P.835); higher is better.",
            digits=2,
            better="higher",
            floor="dnsmos_source",
            if_failed=1.0,
        ),
        Column(
            key="dnsmos_p808",
            title="DNSMOS, P.808",
            explain="Predicted opinion of listeners from 1 to 5 on quality as a whole (P.808); higher is better.",
            digits=2,
            better="higher",
            floor="dnsmos_p808_source",
            if_failed=1.0,
        ),
        Column(key="dnsmos_source", title="DNSMOS of the source", digits=2),
        Column(key="dnsmos_p808_source", title="DNSMOS P.808 of the source", digits=2),
    )

    def __init__(self) -> None:
        if lacking := self.missing():
            raise UserError(f"metric naturalness: {lacking}: pip install 'revoice[naturalness]'")
        self._sources: dict[str, tuple[float, float]] = {}

    @classmethod
    def missing(cls) -> str:
        """The packages that are not installed; "" if all are."""
        absent = [name for name in PACKAGES if find_spec(name) is None]
        return f"not installed: {', '.join(absent)}" if absent else ""

    def start(self, results: Sequence[Result]) -> Callable[[], list[Values]]:
        """Listens when waited for, while worker processes of other metrics go on."""
        return lambda: [self._values(result) for result in results]

    def _values(self, result: Result) -> Values:
        key = result.trial.source.id
        if key not in self._sources:
            self._sources[key] = opinion(result.source)
        own, source = opinion(result.converted), self._sources[key]
        return {
            "dnsmos": own[0], "dnsmos_p808": own[1], "dnsmos_source": source[0], "dnsmos_p808_source": source[1],
        }  # fmt: skip


def opinion(clip: Audio) -> tuple[float, float]:
    """DNSMOS overall (P.835) and P.808 of a clip, which is repeated up to 9 s if it is shorter; louder than full scale
    is brought down to it."""
    from speechmos import dnsmos

    samples = resample(clip.samples, clip.sample_rate, RATE)
    samples = samples / max(1.0, float(np.abs(samples).max(initial=0.0)))
    if len(samples) < 1:
        return float("nan"), float("nan")
    found = dnsmos.run(samples.astype(np.float32), RATE)
    return float(found["ovrl_mos"]), float(found["p808_mos"])
