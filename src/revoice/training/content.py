"""The encoder that a model stands on: where its weights come from, and the stored field that it makes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import Loaded, find_checkpoint, load_checkpoint
from revoice.data.fields.base import Field
from revoice.data.fields.clip import Clip
from revoice.errors import UserError
from revoice.models.base import Trainable
from revoice.models.whisper import Whisper
from revoice.nn.content import WHISPER, Encoder, RecognizedContent, settings_of

HOW = (
    "python import_checkpoint.py kind=whisper path=FILE out=whisper.safetensors, "
    "then model.content_from=whisper.safetensors; or model.content_from=default, that of the converter that ships"
)


@dataclass(frozen=True)
class Content(Field):
    """What a recognizer's encoder makes of whole utterances, interpolated to the feature frames (T, D).

    Attributes:
        spec: gives the frames.
        weights: checkpoint of the encoder, or of a model that holds it.
        sha256: of the encoder's weights.
    """

    spec: FeatureSpec
    weights: Path
    sha256: str
    name = "content"
    dtype = "float16"

    def parameters(self) -> dict[str, Any]:
        """Whose weights made it, and how frames are counted."""
        return {"encoder": self.sha256, **self.spec.frame_rule()}

    def compute(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """(T, D) per clip, each as if alone."""
        made = []
        for clip in clips:
            waveform = torch.from_numpy(clip.at(self.spec.sample_rate))
            with torch.inference_mode():
                found = _network(self.weights, self.spec)(waveform[None], self.spec.frames(len(waveform)))
            made.append(found[0].T.numpy())
        return made


@lru_cache(maxsize=2)
def _network(weights: Path, spec: FeatureSpec) -> RecognizedContent:
    encoder = encoder_of(load_checkpoint(weights))
    return RecognizedContent(encoder, spec.sample_rate, spec.hop).eval()


def encoder_of(loaded: Loaded) -> Encoder:
    """The recognizer's encoder in a checkpoint."""
    if isinstance(loaded.model, Whisper):
        return loaded.model.encoder
    content = _content_of(loaded.model)
    if content is not None:
        return content.encoder
    raise UserError(f"{loaded.path} holds a {loaded.model.name}, expected the encoder of a recognizer: {HOW}")


def _content_of(model: nn.Module) -> RecognizedContent | None:
    """What a conversion model hears words with, if that is a recognizer's encoder."""
    content = getattr(model, "content", None)
    return content if isinstance(content, RecognizedContent) else None


def require_encoder(name: str, values: Mapping[str, Any]) -> None:
    """Refuse a new model that stands on an encoder of which it is not said where it is."""
    if "content_from" not in values:
        return
    if not values["content_from"]:
        raise UserError(f"model {name} stands on the encoder of a recognizer: {HOW}")
    find_checkpoint(str(values["content_from"]))


def settle(name: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], Loaded | None]:
    """The settings of a new model with the sizes of the encoder that it stands on, and where that is.

    Raises:
        UserError: the model needs one and none is given.
    """
    if "content_from" not in values:
        return dict(values), None
    require_encoder(name, values)
    loaded = load_checkpoint(str(values["content_from"]))
    content = fitted(settings_of(encoder_of(loaded)), values.get("content") or {})
    return {**values, "content": content, "content_from": None}, loaded


def fitted(teacher: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an encoder: those of its teacher but for what is wanted; of another kind, what both hear and give."""
    kind = teacher.get("name", WHISPER)
    same = wanted.get("name", kind) == kind
    return {**(teacher if same else {key: teacher[key] for key in ("mels", "width") if key in teacher}), **wanted}


def adopt(model: Trainable, source: Loaded | None) -> None:
    """Copy the encoder's weights into a new model of the same kind, without the last layers if it has fewer."""
    content = _content_of(model)
    if content is not None and source is not None:
        taught = encoder_of(source)
        if type(taught) is type(content.encoder):
            load_shortened(content.encoder, taught.state_dict(), "")


def carry_over(model: Trainable, start: Trainable) -> None:
    """Copy weights from a model with other settings; an encoder of another kind begins anew."""
    state = start.state_dict()
    new, old = _content_of(model), _content_of(start)
    if new is not None and old is not None and type(new.encoder) is not type(old.encoder):
        state = {name: value for name, value in state.items() if not name.startswith("content.")}
        state |= {f"content.{name}": value for name, value in new.state_dict().items()}
    load_shortened(model, state, "content.encoder.")


def load_shortened(network: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    """Load weights of which there may be more than layers in the encoder at `prefix`.

    Raises:
        UserError: they differ in anything else.
    """
    own = network.state_dict()
    left = [name for name in state if name not in own and not name.startswith(f"{prefix}blocks.")]
    wrong = [name for name in own if name not in state or state[name].shape != own[name].shape]
    if left or wrong:
        raise UserError(
            f"model.content: the encoder differs in {(left or wrong)[0]}: only its `layers` can be changed, to fewer"
        )
    network.load_state_dict({name: value for name, value in state.items() if name in own})


def made_fields(model: Trainable, source: Loaded | None, spec: FeatureSpec) -> dict[str, Field]:
    """The stored fields by label that the model's encoder makes, or its teacher: what `source` holds."""
    if "content" not in model.requires.fields:
        return {}
    assert source is not None and source.path is not None
    return {"content": Content(spec, source.path.absolute(), _digest(encoder_of(source)))}


def _digest(encoder: Encoder) -> str:
    """Of the weights: files that hold the same encoder make the same field."""
    found = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        found.update(name.encode() + value.float().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
