"""Methods of hiding a voice against three attackers, and what each costs in words."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from revoice.audio.io import Audio
from revoice.data.corpora.base import CORPORA
from revoice.data.corpora.manifest import Manifest, Row
from revoice.data.prepare.progress import Progress
from revoice.errors import UserError
from revoice.evaluation.bootstrap import Interval, interval
from revoice.evaluation.eer import EqualError
from revoice.evaluation.listeners import AUTO, DEFAULT, check_recognizer, choose
from revoice.evaluation.phone_error import Splits, phones_said
from revoice.evaluation.privacy.attackers import Attacker, Embedded, Trials, attack, make_trials
from revoice.evaluation.privacy.cast import Cast, Utterance, choose_cast
from revoice.evaluation.privacy.methods import Method, Said, Untouched
from revoice.evaluation.recognition import Listener, Recognizer, Transcript
from revoice.evaluation.verification import VERIFIERS, Verifier
from revoice.nn.edits import edits
from revoice.settings import Count, Flag, Given, Natural, NotNegative, Word, settings

log = logging.getLogger(__name__)
ORIGINAL = "original"
USER, ATTACKER, TEACHER = "user", "attacker", "teacher"  # who draws
Several = Annotated[Count, Field(ge=2)]


@settings
class PrivacyProtocol:
    """Who is asked about, by whom, and who listens (config group `evaluation`).

    Attributes:
        splits: that the enrolled voices come from.
        speakers: enrolled voices.  enrolled: recordings that each is known by.  asked: of each, at most.
        same_gender: only trials of voices of one gender, as in the challenge.
        strangers: other voices, which the informed attacker learns from.  each: recordings of each.
        tolerance: by how much the error rate may rise before a method counts as one that destroys words.
        accent: of espeak-ng, which reads texts for a recognizer of phones; None: en-us where a corpus is known to be
            English, and elsewhere what is heard in the untouched recordings counts as said.
        verifier: who tells voices apart.
        recognizer, second_recognizer: who counts errors, see `evaluation.session.Protocol`.
        methods: anonymizers by the name that the report gives them, each with `name` and settings; None leaves it out.
    """

    splits: Splits = ("test_seen", "test_unseen")
    speakers: Annotated[Count, Field(ge=3)] = 16
    enrolled: Count = 4
    asked: Count = 6
    same_gender: Flag = True
    strangers: Natural = 40
    each: Several = 4
    tolerance: NotNegative = 0.1
    accent: Word | None = None
    verifier: Given | Word = "resemblyzer"
    recognizer: Given | Word | None = field(default_factory=lambda: {"name": DEFAULT})
    second_recognizer: Given | Word | None = field(default_factory=lambda: {"name": AUTO})
    methods: dict[Word, Given | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_recognizer(self.recognizer, "evaluation.recognizer")
        check_recognizer(self.second_recognizer, "evaluation.second_recognizer", also=(AUTO,))
        if isinstance(self.verifier, str):
            VERIFIERS.check(self.verifier, {}, "evaluation.verifier")
        else:
            VERIFIERS.check(*VERIFIERS.named(self.verifier, "evaluation.verifier"), "evaluation.verifier")
        if ORIGINAL in self.methods:
            raise UserError(f"evaluation.methods.{ORIGINAL}: that is what untouched recordings are called")


@dataclass(frozen=True)
class Words:
    """What one recognizer hears of the recordings that are asked about.

    Attributes:
        listener: who.
        rate: errors over what is said.  original: the same of the untouched recordings.
        interval: 95 % of the rate, over the voices.  rise_interval: of the difference.
        heard: texts, in the order of the recordings; None where there is none.
    """

    listener: Listener
    rate: float
    original: float
    interval: Interval | None
    rise_interval: Interval | None
    heard: list[str | None]

    @property
    def rise(self) -> float:
        """How much of what is said is lost on the way."""
        return self.rate - self.original


@dataclass(frozen=True)
class Outcome:
    """A method of hiding and how it fared.

    Attributes:
        name: in the report.  about: its settings.
        errors: of the attackers.  words: by one recognizer or two.
        failed: why there is no output, by the key of the utterance; those count as fully misheard and are not asked.
        circular: whether the verifier had a part in making it.
    """

    name: str
    about: Mapping[str, Any]
    errors: dict[Attacker, EqualError]
    words: list[Words]
    failed: dict[str, str]
    circular: bool

    @property
    def strongest(self) -> Attacker:
        """The attacker who errs least."""
        return min(self.errors, key=lambda attacker: self.errors[attacker].rate)

    def destroys(self, tolerance: float) -> bool:
        """Whether more words are lost than may be, by any recognizer."""
        return any(words.rise > tolerance for words in self.words)


@dataclass(frozen=True)
class Found:
    """Everything that a report says: the outcomes, that of the untouched recordings first."""

    outcomes: list[Outcome]
    cast: Cast
    trials: Trials
    manifest: Manifest
    protocol: PrivacyProtocol
    remark: str
    said: int  # recordings of which it is known what they say


class _Ears:
    """A recognizer, and what is said in the recordings that it is to hear."""

    def __init__(self, recognizer: Recognizer, cast: Cast, accent: str) -> None:
        self.recognizer, self.asked = recognizer, cast.asked
        self.heard = recognizer.transcribe([u.clip for u in cast.asked])
        self.known = _known(recognizer, [u.row for u in cast.asked], accent)
        self.said = [known or heard for known, heard in zip(self.known, self.heard, strict=True)]

    def words(self, said: Said, method: Method, prefix: str, seed: int) -> Words:
        """Errors in what a method made."""
        made = [clip for u in self.asked if isinstance(clip := said[u.key], Audio)]
        there = iter(self.recognizer.transcribe(made))
        heard = [next(there) if isinstance(said[u.key], Audio) else None for u in self.asked]
        wrong, before = self._wrong(heard), self._wrong(self.heard)
        sizes = [len(s.tokens) for s in self.said]
        total, whose = max(1, sum(sizes)), [u.row.speaker for u in self.asked]
        used = [i for i, size in enumerate(sizes) if size]

        def between(counts: Sequence[int]) -> Interval | None:
            values = [counts[i] / sizes[i] for i in used]
            return interval(values, [whose[i] for i in used], [float(sizes[i]) for i in used], seed)

        return Words(
            Listener.of(self.recognizer, method.stands_on, prefix), sum(wrong) / total, sum(before) / total,
            between(wrong), between([a - b for a, b in zip(wrong, before, strict=True)]),
            [one.text if one else None for one in heard],
        )  # fmt: skip

    def _wrong(self, heard: Sequence[Transcript | None]) -> list[int]:
        pairs = zip(self.said, heard, strict=True)
        return [edits(said.tokens, one.tokens) if one else len(said.tokens) for said, one in pairs]


def _accent(corpus: str) -> str:
    """What the texts of a corpus, or of several joined by "+", are read with; "" where that is not known of one."""
    names = corpus.split("+")
    found = {CORPORA.get(name).accent if name in CORPORA.names() else "" for name in names}
    return found.pop() if len(found) == 1 else ""


def _known(recognizer: Recognizer, rows: Sequence[Row], accent: str) -> list[Transcript | None]:
    """What rows say, where the corpus tells; texts are read by espeak-ng for a recognizer of phones, if by any."""
    found = [recognizer.said(row) for row in rows]
    lacking = [i for i, row in enumerate(rows) if found[i] is None and row.text and recognizer.unit == "phones"]
    if lacking and accent:
        read = phones_said([rows[i] for i in lacking], accent)
        found = [*found]
        for i, phones in zip(lacking, read, strict=True):
            found[i] = Transcript.of_phones(phones)
    return found


def measure(
    methods: Mapping[str, Method], manifest: Manifest, how: PrivacyProtocol, seed: int = 0, progress: bool = True
) -> Found:
    """Let three attackers and a recognizer or two loose on every method.

    Args:
        methods: by name.
        manifest: of the corpus, with splits.
        how: the protocol.
        seed: of the intervals.
        progress: whether a bar is shown.

    Raises:
        UserError: the corpus has too few voices.
    """
    cast = choose_cast(manifest, how.splits, how.speakers, how.enrolled, how.asked, how.strangers, how.each)
    trials = make_trials(cast, how.same_gender)
    if trials.same.all():
        raise UserError("no trial of two voices: evaluation.same_gender=false asks across genders, too")
    verifier = _verifier(how.verifier)
    listening = choose(how.recognizer, how.second_recognizer, {name: m.stands_on for name, m in methods.items()})
    accent = how.accent or _accent(manifest.corpus)
    ears = [_Ears(one, cast, accent) for one in (listening.first, listening.second) if one is not None]
    original = verifier.embed([u.clip for u in cast.enrolled])
    outcomes = []
    everything: dict[str, Method] = {ORIGINAL: Untouched(), **methods}
    with Progress("attacking", len(everything), progress) as bar:
        for name, method in everything.items():
            outcomes.append(_outcome(name, method, cast, trials, verifier, original, ears, seed))
            bar.advance(1, 0.0)
    said = sum(known is not None for known in ears[0].known) if ears else 0
    return Found(outcomes, cast, trials, manifest, how, listening.remark, said)


def _outcome(
    name: str, method: Method, cast: Cast, trials: Trials, verifier: Verifier, original: np.ndarray,
    ears: Sequence[_Ears], seed: int,
) -> Outcome:  # fmt: skip
    parts = ((cast.enrolled, ATTACKER), (cast.asked, USER), (cast.strangers, TEACHER))
    enrolled, asked, strangers = (method.hide(utterances, by) for utterances, by in parts)
    failed = {key: clip for part in (enrolled, asked, strangers) for key, clip in part.items() if isinstance(clip, str)}
    for why in failed.values():
        log.warning("%s: no output: %s", name, why)
    kept = _without(cast, trials, {*failed})
    known = [place for place, u in enumerate(cast.enrolled) if u.key not in failed]
    vectors = Embedded(
        original[known], *(_embedded(verifier, part, said) for part, said in
                           ((kept[0].enrolled, enrolled), (kept[0].asked, asked), (kept[0].strangers, strangers))),
    )  # fmt: skip
    heard = [ear.words(asked, method, "second_" if number else "", seed) for number, ear in enumerate(ears)]
    return Outcome(name, method.about, attack(*kept, vectors, seed), heard, failed, verifier.name in method.stands_on)


def _without(cast: Cast, trials: Trials, failed: set[str]) -> tuple[Cast, Trials]:
    """The cast that has an output, and its trials."""
    if not failed:
        return cast, trials
    enrolled, asked, strangers = (
        [u for u in part if u.key not in failed] for part in (cast.enrolled, cast.asked, cast.strangers)
    )
    left = Cast(enrolled, asked, strangers)
    if len(left.speakers) < len(cast.speakers) or not left.asked:
        raise UserError(f"a method made nothing of all recordings of a voice: {next(iter(failed))}")
    return left, make_trials(left, trials.same_gender)


def _embedded(verifier: Verifier, utterances: Sequence[Utterance], said: Said) -> np.ndarray:
    clips = [clip for u in utterances if isinstance(clip := said[u.key], Audio)]
    return verifier.embed(clips) if clips else np.zeros((0, 1), np.float32)


def _verifier(given: Mapping[str, Any] | str) -> Verifier:
    if isinstance(given, str):
        return VERIFIERS.build(given, {})
    return VERIFIERS.build(*VERIFIERS.named(given, "evaluation.verifier"))


def flattered(outcome: Outcome) -> list[str]:
    """Names of the recognizers that had a part in making a method."""
    return [words.listener.name for words in outcome.words if words.listener.circular]
