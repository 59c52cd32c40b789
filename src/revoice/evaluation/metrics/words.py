"""How much of what is said is lost: the error rate that belongs beside every similarity."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from revoice.audio.io import Audio
from revoice.data.corpora.manifest import Manifest
from revoice.evaluation.metrics.base import METRICS, Column, Metric, Result, Values
from revoice.evaluation.recognition import SHORT, Listener, Recognizer, Transcript, error_rate


@METRICS.register("words")
class Words(Metric):
    """Errors of what a recognizer hears, relative to what the same recognizer hears in the source.

    So its own mistakes on clear speech do not count against the system, and no transcript is needed. Where the corpus
    has transcripts (or phones, for a recognizer of phones), its own error on the true sources is shown beside them.

    Args:
        recognizer: the judge.
        manifest: of the corpus.
        prefix: put before every key, to set a second recognizer's numbers apart.
    """

    copies_sources = True

    def __init__(self, recognizer: Recognizer, manifest: Manifest, prefix: str = "") -> None:
        self.recognizer, self.manifest, self.prefix = recognizer, manifest, prefix
        self.short = prefix + SHORT[recognizer.unit]
        self.columns = _columns(self.short, recognizer, bool(prefix))
        self._heard: dict[str, Transcript] = {}  # in recordings, by row id
        self.begin()

    def begin(self) -> None:
        """See `Metric`."""
        self._in_copies: dict[str, Transcript] = {}  # of sources, by row id

    def listener(self, stands_on: Collection[str]) -> Listener:
        """The judge of a system that stands on `stands_on`."""
        return Listener.of(self.recognizer, stands_on, self.prefix)

    def start(self, results: Sequence[Result]) -> Callable[[], list[Values]]:
        """Listens when waited for, while worker processes of other metrics go on."""
        return lambda: self._measure(results)

    def _measure(self, results: Sequence[Result]) -> list[Values]:
        new = {r.trial.source.id: r.source for r in results if r.trial.source.id not in self._heard}
        copies = {
            r.trial.source.id: r.source_copy
            for r in results
            if r.source_copy is not None and r.trial.source.id not in self._in_copies
        }
        clips: list[Audio] = [*new.values(), *copies.values(), *(result.converted for result in results)]
        heard = self.recognizer.transcribe(clips)
        self._heard |= zip(new, heard, strict=False)
        self._in_copies |= zip(copies, heard[len(new) :], strict=False)
        conversions = heard[len(new) + len(copies) :]
        return [
            self._values(result, clip, self._in_copies.get(result.trial.source.id))
            for result, clip in zip(results, conversions, strict=True)
        ]

    def _values(self, result: Result, converted: Transcript, copy: Transcript | None) -> Values:
        row = result.trial.source
        source, said = self._heard[row.id], self.recognizer.said(row)
        values: dict[str, Any] = {
            f"{self.short}_converted": error_rate(source.tokens, converted.tokens),
            f"{self.short}_copy": error_rate(source.tokens, copy.tokens) if copy else math.nan,
            f"{self.short}_source": error_rate(said.tokens, source.tokens) if said else math.nan,
            f"{self.short}_length": len(source.tokens),
            f"{self.short}_length_said": len(said.tokens) if said else 0,
            f"{self.short}_text": error_rate(said.tokens, converted.tokens) if said else math.nan,
            f"{self.prefix}heard_source": source.text,
            f"{self.prefix}heard_converted": converted.text,
        }
        return values | (self._words(source, converted, copy) if self.recognizer.unit == "characters" else {})

    def _words(self, source: Transcript, converted: Transcript, copy: Transcript | None) -> dict[str, Any]:
        """The same in words."""
        heard = ["".join(one.tokens).split() if one else None for one in (source, converted, copy)]
        key, (own, said, again) = f"{self.prefix}wer", heard
        return {
            f"{key}_converted": error_rate(own or (), said or ()),
            f"{key}_copy": math.nan if again is None else error_rate(own or (), again),
            f"{key}_length": len(own or ()),
        }


def _columns(short: str, recognizer: Recognizer, second: bool) -> tuple[Column, ...]:
    unit, name = recognizer.unit, recognizer.name
    what = "Character" if unit == "characters" else "Phone"
    by = f" ({name})" if second else ""
    words = _word_columns("second_" if second else "", by) if unit == "characters" else ()
    return (
        Column(
            key=f"{short}_converted",
            title=f"{what} errors{by}",
            explain=f"What {name} hears in the conversion against what it hears in the source: wrong, missing and "
            f"added {unit} over those of the source; lower is better, 0 is as clear as the source, more than 1 is "
            "possible.",
            ceiling=f"{short}_copy",
            weight=f"{short}_length",
            better="lower",
            if_failed=1.0,
        ),
        Column(
            key=f"{short}_source",
            title=f"{what} errors in the true source{by}",
            explain=f"What {name} hears in the untouched source against what is truly said there, its own error; the "
            "lower it is, the more the other number says.",
            weight=f"{short}_length_said",
        ),
        Column(
            key=f"{short}_text",
            title=f"{what} errors against the transcript{by}",
            explain=f"What {name} hears in the conversion against what is truly said, its own mistakes included; lower "
            "is better.",
            better="lower",
            floor=f"{short}_source",
            weight=f"{short}_length_said",
            if_failed=1.0,
        ),
        *words,
        Column(
            key=f"{short}_copy",
            title=f"{what} errors in the source through features and vocoder{by}",
            weight=f"{short}_length",
        ),
    )


def _word_columns(prefix: str, by: str) -> tuple[Column, ...]:
    return (
        Column(
            key=f"{prefix}wer_converted",
            title=f"Word errors{by}",
            explain="The same in words: wrong, missing and added ones over those heard in the source; lower is better.",
            better="lower",
            ceiling=f"{prefix}wer_copy",
            weight=f"{prefix}wer_length",
            if_failed=1.0,
        ),
        Column(
            key=f"{prefix}wer_copy",
            title=f"Word errors in the source through features and vocoder{by}",
            weight=f"{prefix}wer_length",
        ),
    )
