"""Which phone is said when, of utterances of which the corpus knows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from revoice.audio.spec import FeatureSpec
from revoice.data.fields.base import FIELDS, Field
from revoice.data.fields.clip import Clip
from revoice.data.fields.inventory import INVENTORY, heard

NOTHING, UNKNOWN = -1, -2


@FIELDS.register("phones")
@dataclass(frozen=True)
class Phones(Field):
    """A number (T,) per frame: 2 x the phone's place in `INVENTORY`, and 1 more in the frame of the phone's middle.

    So a crop holds those phones of which more than half is inside, each has one middle, and two equal ones in a row
    remain two. -1: no phone; -2: in all frames of a clip of which it is not known what is said.
    """

    spec: FeatureSpec
    dtype = "int8"

    def parameters(self) -> dict[str, Any]:
        """How frames are counted, and the phones in the order of their numbers."""
        return {**self.spec.frame_rule(), "inventory": list(INVENTORY)}

    @property
    def padding(self) -> float:
        """The number that stands for no phone at all."""
        return float(NOTHING)

    @property
    def scale(self) -> None:
        """They are numbers of phones."""
        return None

    def compute(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """Numbers of phones (T,) of each clip, from the times that its corpus knows."""
        return [self._numbers(clip) for clip in clips]

    def _numbers(self, clip: Clip) -> np.ndarray:
        frames = self.spec.frames(len(clip.at(self.spec.sample_rate)))
        if clip.phones is None:
            return np.full(frames, UNKNOWN)
        numbers, middles = np.full(frames, NOTHING), []
        for name, start, end in heard(list(clip.phones), clip.seconds):
            first, middle, last = ((t - clip.start) * self.spec.frame_rate for t in (start, (start + end) / 2, end))
            number = 2 * INVENTORY.index(name)
            numbers[max(0, round(first)) : max(0, round(last))] = number
            middles.append((round(middle), number + 1))
        before = -1
        for middle, number in middles:  # two phones of one frame, as espeak has them, take two
            before = max(middle, before + 1)
            if 0 <= middle and before < frames:
                numbers[before] = number
        return numbers
