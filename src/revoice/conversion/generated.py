"""What a trained model makes of every utterance, in the voice that it has: a stored field.

Vocoders learn from it to speak what models say instead of what recordings are, and critics to tell the two apart.
Registered here and not in `data.fields`, whose modules know no networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field as Bounded

from revoice.audio.io import Audio
from revoice.audio.spec import FeatureSpec
from revoice.conversion.converter import Converter
from revoice.conversion.load import load
from revoice.data.fields.base import FIELDS
from revoice.data.fields.clip import Clip
from revoice.data.fields.features import Features
from revoice.errors import UserError


@FIELDS.register("generated")
@dataclass(frozen=True)
class Generated(Features):
    """Features (T, F) of each utterance said again by a model, with the utterance itself as the target's clip, if any.

    They are those of a conversion, as a vocoder hears them, not the bare output of a network: what is to be anonymized
    first is so as in conversion, and what is rebuilt after the network (pix2pix's phases) is rebuilt; but they are not
    given the tone of the target.

    Attributes:
        by: checkpoint of a conversion model of the same features.
    """

    by: Annotated[str, Bounded(max_length=4096)] = ""

    def parameters(self) -> dict[str, Any]:
        """Those of the features, and the bytes of the model."""
        return {**super().parameters(), "by": _maker(self.by, self.spec).loaded.sha256}

    def compute(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """(T, F) per clip."""
        return [self._said_again(clip) for clip in clips]

    @torch.no_grad()
    def _said_again(self, clip: Clip) -> np.ndarray:
        converter = _maker(self.by, self.spec)
        known = converter.analyzed(Audio(clip.at(self.spec.sample_rate), self.spec.sample_rate))
        targets = [known] if converter.model.target == "clips" else []
        made = converter.model.convert(known, targets, converter.controls({}))
        return made[0, :, : known.features.shape[2]].T.numpy()


@cache
def _maker(path: str, spec: FeatureSpec) -> Converter:
    if not path:
        raise UserError("generated features are a model's: add data.generated_by=CHECKPOINT")
    converter = load(path)
    if converter.model.target == "speaker":
        raise UserError(f"data.generated_by={path}: {converter.model.name} takes no clip as its target, but a name")
    converter.spec.require_match(spec, f"data.generated_by={path}", "the features")
    return converter
