"""What is heard in a clip, and how much of it is wrong: recognizers from the registry `RECOGNIZERS`."""

import math
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from revoice.audio.io import Audio
from revoice.data.corpora.manifest import Row
from revoice.registry import Registry

RECOGNIZERS: "Registry[Recognizer]" = Registry("recognizer", "revoice.evaluation.recognizers")
RATE = 16000  # Hz: what recognizers of speech hear
SHORT = {"characters": "cer", "phones": "per"}  # names of the error rates by unit


@dataclass(frozen=True)
class Transcript:
    """What was heard.

    Attributes:
        tokens: what is counted: characters of normalized text, or names of phones.
        text: the same for people.
    """

    tokens: tuple[str, ...]
    text: str

    @classmethod
    def of_text(cls, text: str) -> "Transcript":
        """Words, counted in characters.

        >>> Transcript.of_text("It's 3, no?").tokens
        ('i', 't', 's', ' ', '3', ' ', 'n', 'o')
        """
        return cls(tuple(normalized(text)), " ".join(text.split()))

    @classmethod
    def of_phones(cls, names: Sequence[str]) -> "Transcript":
        """A transcript of phones: the same names as units and, with blanks between, as text."""
        return cls(tuple(names), " ".join(names))


class Recognizer(ABC):
    """Hears what is said.

    Attributes:
        name: registry name, set by the decorator.
        unit: what errors are counted in, "characters" or "phones".
        stands_on: names of recognizers or encoders that taught it; see `is_circular`.
        weights: which weights or program, as far as that can be told.
        known_error: its error rates on true recordings as its maker measured them, by whatever names.
    """

    name: ClassVar[str]
    unit: str = "characters"
    stands_on: tuple[str, ...] = ()
    weights: str = ""
    known_error: Mapping[str, Any] = {}

    @classmethod
    def missing(cls) -> str:
        """What has to be there before it can be built without settings; "" if nothing is missing."""
        return ""

    @abstractmethod
    def transcribe(self, clips: Sequence[Audio]) -> list[Transcript]:
        """What is heard in clips of any rate and length; equal clips give equal transcripts."""

    def said(self, row: Row) -> Transcript | None:
        """What a row of a corpus says, in tokens of this recognizer; None if the corpus does not tell."""
        return Transcript.of_text(row.text) if row.text and self.unit == "characters" else None


def normalized(text: str) -> str:
    """Lower case, without punctuation; apostrophes vanish, other punctuation parts words; digits stay digits.

    >>> normalized("  Don’t—ever; say “Café No. 9”!")
    'dont ever say café no 9'
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" else "" if c in "'’‘`ʼ" else " " for c in plain)
    return " ".join(kept.split())


def error_rate(reference: Sequence[str], heard: Sequence[str]) -> float:
    """Levenshtein distance over the length of the reference: 0 is the same, above 1 means more wrong than was said.

    >>> error_rate("kitten", "sitting"), error_rate("ab", ""), error_rate("", "a")
    (0.5, 1.0, nan)
    """
    if not reference:
        return math.nan
    import jiwer

    return float(jiwer.wer(_as_words(reference), _as_words(heard)))


def mean_rate(pairs: Sequence[tuple[Transcript, Transcript]]) -> float:
    """Error rate over (what is heard in the source, what is heard instead), long sources counting more; nan if none."""
    counted = [(error_rate(a.tokens, b.tokens), len(a.tokens)) for a, b in pairs if a.tokens]
    return sum(rate * size for rate, size in counted) / sum(size for _, size in counted) if counted else math.nan


def _as_words(tokens: Sequence[str]) -> str:
    return " ".join("␣" if token == " " else token for token in tokens)


def is_circular(recognizer: Recognizer, stands_on: Collection[str]) -> bool:
    """Whether a system shares with the recognizer that judges it weights or a teacher, and is flattered by it."""
    return not {recognizer.name, *recognizer.stands_on}.isdisjoint(stands_on)


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who counted the errors of one system, for its report and `metrics.json`.

    Attributes:
        name, unit, weights, stands_on, known_error: see `Recognizer`.
        circular: see `is_circular`.
        prefix: of its columns.
    """

    name: str
    unit: str
    weights: str = ""
    stands_on: tuple[str, ...] = ()
    known_error: Mapping[str, Any] = field(default_factory=dict)
    circular: bool = False
    prefix: str = ""

    @classmethod
    def of(cls, recognizer: Recognizer, stands_on: Collection[str], prefix: str = "") -> "Listener":
        """A recognizer as the judge of a system that stands on `stands_on`."""
        return cls(
            name=recognizer.name, unit=recognizer.unit, weights=recognizer.weights,
            stands_on=tuple(recognizer.stands_on), known_error=dict(recognizer.known_error),
            circular=is_circular(recognizer, stands_on), prefix=prefix,
        )  # fmt: skip

    def key(self, what: str) -> str:
        """Name of a column: of what is "converted", "copy" or "source"."""
        return f"{self.prefix}{SHORT[self.unit]}_{what}"

    def facts(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """What a section of `metrics.json` says about it, with its own error on the true clips of that section."""
        return {
            "name": self.name, "unit": self.unit, "weights": self.weights, "stands_on": list(self.stands_on),
            "circular": self.circular, "error_on_true_clips": summary.get(self.key("source")),
            "known_error": dict(self.known_error),
        }  # fmt: skip
