"""An anonymized copy of each utterance, beside the utterance itself: pairs of which to learn the way back."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import sqrt
from typing import Annotated, Any

import numpy as np
from pydantic import Field as Bounded

from revoice.audio.anonymization import ANONYMIZERS, Anonymizer
from revoice.audio.features import extract
from revoice.audio.io import fingerprint
from revoice.data.fields.base import FIELDS
from revoice.data.fields.clip import Clip
from revoice.data.fields.features import Features
from revoice.errors import UserError, choices
from revoice.registry import accepted, defaults
from revoice.settings import Given, Whole

_SETTINGS = "data.prepare.fields.paired.settings"


@FIELDS.register("paired")
@dataclass(frozen=True)
class Paired(Features):
    """Features (T, N F) of N anonymized copies of an utterance, frame by frame those of the original.

    Attributes:
        how: name of the anonymizer ("paired:world").
        settings: of the anonymizer, as in `revoice.audio.anonymizers`; null leaves one out.
        copies: N, each with draws of its own; what an anonymizer draws once for an utterance (a stretch of the
            envelope, a level of pitch) is otherwise seen once.
    """

    how: str = ""
    settings: Given = field(default_factory=dict)
    copies: Annotated[Whole, Bounded(ge=1, le=64)] = 1

    def __post_init__(self) -> None:
        if not self.how:
            return
        known = accepted(ANONYMIZERS.get(self.how))
        if foreign := [key for key in self.given if key not in known]:
            unknown = choices(foreign[0], known, f"setting of anonymizer {self.how}")
            nulls = " ".join(f"{_SETTINGS}.{key}=null" for key in foreign)
            raise UserError(f"{unknown}; what was set for another one is left out by {nulls}")
        ANONYMIZERS.check(self.how, self.given, _SETTINGS)

    @property
    def given(self) -> dict[str, Any]:
        """The settings that are not null."""
        return {key: value for key, value in self.settings.items() if value is not None}

    @property
    def label(self) -> str:
        """With the anonymizer's name."""
        return f"paired:{self.how}"

    def parameters(self) -> dict[str, Any]:
        """Those of the features, and all that the anonymizer does."""
        return {**super().parameters(), "how": self.how, "settings": self.given, "copies": self.copies}

    @property
    def padding(self) -> float | list[float]:
        """Frames of silence, side by side."""
        one = super().padding
        return one * self.copies if isinstance(one, list) else one

    def compute(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """(T, N F) per clip."""
        return [self.of(clip.at(self.spec.sample_rate)) for clip in clips]

    def of(self, samples: np.ndarray, key: str | None = None) -> np.ndarray:
        """(T, N F) of samples (S,) at the spec's rate; draws are tied to `key`, else to the samples themselves."""
        name, rate = key or fingerprint(samples), self.spec.sample_rate
        names = [name, *(f"{name}/{number}" for number in range(1, self.copies))]
        made = [self._anonymizer(samples, rate, each) for each in names]
        return np.concatenate([extract(each, self.spec).T.numpy() for each in made], axis=1)

    def settled(self, level: float | None = None) -> "Paired":
        """As conversion takes it: one copy, and of each range that utterances draw from the middle.

        Args:
            level: Hz, where the pitch goes if the anonymizer can move it and no level is set: that of the voice which
                the pairs were made of, whose own pairs kept it.
        """
        kind = ANONYMIZERS.get(self.how)
        ranges = {key: value for key, value in defaults(kind).items() if _is_range(value)}  # drawn from, though not set
        given = {**ranges, **self.given}
        middle = {key: sqrt(value[0] * value[1]) if _is_range(value) else value for key, value in given.items()}
        if level is not None and middle.get("f0_range") is None and "f0_range" in accepted(kind):
            middle["f0_range"] = level
        return replace(self, copies=1, settings=middle)

    @cached_property
    def _anonymizer(self) -> Anonymizer:
        if not self.how:
            raise UserError(f"field paired: name an anonymizer, paired:NAME, one of {', '.join(ANONYMIZERS.names())}")
        return ANONYMIZERS.build(self.how, self.given, what=_SETTINGS)


def _is_range(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2
