"""What a trained recognizer hears, stored for every utterance: the soft targets of another one.

Registered here and not in `data.fields`, whose modules know no networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field as Bounded

from revoice.audio.features import extract
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import Loaded, load_checkpoint
from revoice.data.fields.base import FIELDS, Field
from revoice.data.fields.clip import Clip
from revoice.errors import UserError
from revoice.models.phones import BLANK, Recognizer
from revoice.settings import Number


@FIELDS.register("posteriors")
@dataclass(frozen=True)
class Posteriors(Field):
    """Probabilities (ceil(T / 2), 1 + P) of "nothing new" and each phone; 0 where the phones are known anyway.

    Attributes:
        spec: of the frames.
        teacher: checkpoint of a recognizer.
        lift: nats taken from "nothing new": a teacher leaves phones out on speech unlike that which it learned from.
    """

    spec: FeatureSpec
    teacher: Annotated[str, Bounded(max_length=4096)] = ""
    lift: Number = 1.0
    dtype = "float16"

    def parameters(self) -> dict[str, Any]:
        """Frames, and the bytes of the teacher."""
        return {**self.spec.frame_rule(), "teacher": _teacher(self.teacher).sha256, "lift": self.lift}

    @property
    def per_frame(self) -> float:
        """50 steps a second."""
        return 0.5

    def compute(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """(ceil(T / 2), 1 + P) per clip."""
        return [self._heard(clip) for clip in clips]

    @torch.no_grad()
    def _heard(self, clip: Clip) -> np.ndarray:
        loaded = _teacher(self.teacher)
        assert isinstance(loaded.model, Recognizer)
        samples = clip.at(self.spec.sample_rate)
        if clip.phones is not None:
            steps = (self.spec.frames(len(samples)) + 1) // 2
            return np.zeros((steps, 1 + len(loaded.model.inventory)))
        heard = loaded.model.log_probs(extract(samples, loaded.spec)[None])[0]
        heard[BLANK] -= self.lift
        return heard.softmax(0).T.numpy()


@cache
def _teacher(path: str) -> Loaded:
    if not path:
        raise UserError("posteriors are a teacher's: add data.prepare.fields.posteriors.teacher=CHECKPOINT")
    loaded = load_checkpoint(path)
    if not isinstance(loaded.model, Recognizer):
        raise UserError(f"{path} holds the model {loaded.description.model}, not a recognizer of phones")
    return loaded
