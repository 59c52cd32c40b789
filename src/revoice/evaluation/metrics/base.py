"""What a metric is: columns of a table with one line per conversion. A new one is a file in this package."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from revoice.audio.io import Audio
from revoice.evaluation.pairs import Trial
from revoice.registry import Registry

METRICS: "Registry[Metric]" = Registry("metric", "revoice.evaluation.metrics")

Values = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One measured number per conversion, and how to read it.

    Attributes:
        key: name in `metrics.json`.
        title: name in the report.
        explain: one plain sentence for the report; says which direction is good. Empty: shown only beside another.
        digits: decimals shown.
        unit: "dB", "cents" or "".
        share: whether it is a 0-or-1 whose mean is a share, shown in per cent.
        floor, ceiling: keys of the columns that hold the same number for "nothing was converted" and for "as good as
            the vocoder allows".
        weight: key of the row entry that weighs this number in means; "" for equal weights.
        better: "higher" or "lower"; "" where neither is.
        if_failed: the value of a conversion that gave no sound, where others have this number; None leaves it out of
            the mean.
    """

    key: str
    title: str
    explain: str = ""
    digits: int = 3
    unit: str = ""
    share: bool = False
    floor: str = ""
    ceiling: str = ""
    weight: str = ""
    better: Literal["higher", "lower", ""] = ""
    if_failed: float | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished conversion.

    Attributes:
        trial: what was asked for.
        source: the source recording.
        references: the clips of the target voice that the converter was given.
        converted: the outcome.
        true_target: the target voice saying the same sentence, None if not recorded.
        ceiling: `true_target` through the features and the vocoder of the system, without conversion.
        source_copy: `source` likewise; None if no metric asks for it (`Metric.copies_sources`).
        seconds: length of the source.
        wall_seconds: time the conversion took (its share, by length, of the time of its batch).
        peak_mb: memory that conversion took at its most, in MB, of the whole process; nan if that cannot be told.
        failed: why the outcome cannot be measured, "" if it can.
    """

    trial: Trial
    source: Audio
    references: tuple[Audio, ...]
    converted: Audio
    true_target: Audio | None
    ceiling: Audio | None
    seconds: float
    wall_seconds: float
    failed: str = ""
    source_copy: Audio | None = None
    peak_mb: float = float("nan")


class Metric(ABC):
    """Measures conversions. One object may serve several systems on the same corpus: it remembers recordings by row id.

    Attributes:
        name: registry name, set by the decorator.
        columns: what `start` delivers.
        copies_sources: whether it needs `Result.source_copy`.
    """

    name: ClassVar[str]
    columns: tuple[Column, ...]
    copies_sources: ClassVar[bool] = False

    def begin(self) -> None:  # noqa: B027  # most have nothing to forget
        """Another system: what is known of the last one's conversions and copies is no longer so."""

    @abstractmethod
    def start(self, results: Sequence[Result]) -> Callable[[], list[Values]]:
        """Begin to measure conversions of a system that did not fail, some of them: others may follow.

        Returns:
            A function that waits for the end and gives each result's values by column key, nan where there is none, and
            whatever else its record should hold.
            All metrics are started before the first one is waited for.
        """
