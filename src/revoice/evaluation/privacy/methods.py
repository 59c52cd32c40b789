"""What hides a voice, seen by an evaluation: an anonymizer, a converter with pseudo-voices, or nothing at all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from revoice.audio.anonymization import Anonymizer
from revoice.audio.io import Audio, AudioError, resample
from revoice.conversion.adaptation import Voice
from revoice.conversion.converter import Converter
from revoice.conversion.jobs import voice_of
from revoice.conversion.pseudo import CLIPS, Hiding, embedding_of
from revoice.evaluation.privacy.cast import RATE, Utterance
from revoice.models.anonymizer import AnonymizerModel

Said = dict[str, Audio | str]  # by the key of an utterance; a text says why there is none


class Method(ABC):
    """Hides who speaks.

    Attributes:
        about: for the report.
        stands_on: names of what taught it, or what it is conditioned on, see `Recognizer.stands_on`.
    """

    about: Mapping[str, Any] = {}
    stands_on: Sequence[str] = ()

    @abstractmethod
    def hide(self, utterances: Sequence[Utterance], by: str) -> Said:
        """Utterances at `RATE`, anonymized.

        Args:
            utterances: of some voices.
            by: who draws what is random; an attacker draws otherwise than who hides.
        """


class Untouched(Method):
    """Nothing is hidden: where every other method starts from."""

    def hide(self, utterances: Sequence[Utterance], by: str) -> Said:
        """The recordings themselves."""
        return {u.key: u.clip for u in utterances}


class BySignal(Method):
    """An anonymizer, with draws for each recording."""

    def __init__(self, anonymizer: Anonymizer, about: Mapping[str, Any]) -> None:
        self.anonymizer, self.about = anonymizer, about

    def hide(self, utterances: Sequence[Utterance], by: str) -> Said:
        """Each by a draw that its key and `by` decide."""
        return {u.key: Audio(self.anonymizer(u.clip.samples, RATE, f"{by}/{u.key}"), RATE) for u in utterances}


class ByConversion(Method):
    """A converter, with a pseudo-voice for each speaker, or as it is if it takes no target.

    Args:
        converter: of any kind.
        hiding: which voices; None for a converter that takes none.
    """

    def __init__(self, converter: Converter, hiding: Hiding | None) -> None:
        self.converter, self.hiding = converter, hiding
        self.about = converter.describe()
        chosen = hiding is not None and hiding.pool is not None  # by distances that Resemblyzer measures
        given = ("resemblyzer",) if chosen or "embedding" in converter.model.requires.fields else ()
        self.stands_on = (*converter.model.stands_on, *given)
        self._voices: dict[str, Voice] = {}

    def hide(self, utterances: Sequence[Utterance], by: str) -> Said:
        """Each in the voice that stands for its speaker, for itself, or for all, as `by` draws it."""
        if self.hiding is None:
            return {u.key: self._said(u, ()) for u in utterances}
        groups: dict[str, list[Utterance]] = {}
        for u in utterances:
            who = {"all": "all", "speaker": u.row.speaker, "utterance": u.key}[self.hiding.how.per]
            groups.setdefault(who, []).append(u)
        found: Said = {}
        for who in self.hiding.in_turn(groups):
            own = groups[who]
            names = () if who == "all" else {u.row.speaker for u in own}
            target = self.hiding.behind(who, partial(embedding_of, [u.clip for u in own[:CLIPS]]), by, names)
            if target.label not in self._voices:
                self._voices[target.label] = voice_of(self.converter, target)
            found |= {u.key: self._said(u, self._voices[target.label]) for u in own}
        return found

    def _said(self, utterance: Utterance, voice: Voice | tuple[()]) -> Audio | str:
        try:
            made = self.converter.convert(utterance.clip, voice)
        except AudioError as error:
            return str(error)
        return Audio(resample(made.samples, made.sample_rate, RATE), RATE)


def method_of(converter: Converter, hiding: Hiding | None) -> Method:
    """A converter as a method; of an anonymizer the anonymizer, which draws for an attacker otherwise."""
    model = converter.model
    if isinstance(model, AnonymizerModel):
        return BySignal(model.anonymizer, {"anonymizer": model.anonymizer.name})
    return ByConversion(converter, hiding)
