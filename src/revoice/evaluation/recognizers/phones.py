"""The small phone recognizer that comes with revoice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from revoice.audio.features import extractor
from revoice.audio.io import Audio, resample
from revoice.checkpoint.load import load_checkpoint
from revoice.data.corpora.manifest import Row
from revoice.errors import UserError
from revoice.evaluation.recognition import RECOGNIZERS, Recognizer, Transcript
from revoice.settings import Place

SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "phones.safetensors"
_BATCH = 1 << 22  # samples padded together


@RECOGNIZERS.register("phones")
class Phones(Recognizer):
    """Hears phones, without a language model that would guess words: what is slurred counts.

    It was taught in part by Whisper.

    Args:
        path: its checkpoint; None is the one in the package.
        device: where it runs.
    """

    unit = "phones"
    stands_on: tuple[str, ...] = ("whisper",)

    def __init__(self, path: Place | None = None, device: str = "cpu") -> None:
        file = path or SHIPPED
        if path is None and self.missing():
            raise UserError(
                f"recognizer phones: {self.missing()}: give a checkpoint of one as recognizer.path=FILE, or type "
                "recognizer.name=whisper"
            )
        loaded = load_checkpoint(file, device)
        if not hasattr(loaded.model, "transcribe"):
            raise UserError(
                f"recognizer.path={file} holds a {loaded.description.model}: expected the phone recognizer 'phones'"
            )
        self.model: Any = loaded.model
        self.spec, self.device = loaded.spec, device
        self.weights = loaded.sha256
        self.stands_on = tuple(dict.fromkeys([*type(self).stands_on, *loaded.model.stands_on]))
        self.known_error = _table(loaded.description.data.get("phone_error"))

    @classmethod
    def missing(cls) -> str:
        """Whether the weights that ship are there; a source archive may lack them."""
        return "" if SHIPPED.is_file() else "its weights are not in this installation"

    def transcribe(self, clips: Sequence[Audio]) -> list[Transcript]:
        """Clips of like length together."""
        least = self.spec.n_fft
        sounds = [resample(clip.samples, clip.sample_rate, self.spec.sample_rate) for clip in clips]
        sounds = [np.pad(sound, (0, max(0, least - len(sound)))).astype(np.float32) for sound in sounds]
        heard: dict[int, Transcript] = {}
        for group in _groups([len(sound) for sound in sounds]):
            found = self._phones([sounds[i] for i in group])
            heard |= {i: Transcript.of_phones(names) for i, names in zip(group, found, strict=True)}
        return [heard[i] for i in range(len(clips))]

    def said(self, row: Row) -> Transcript | None:
        """espeak's phones of a row of the embedded corpus, in the names of the recognizer."""
        if not row.phones or not hasattr(self.model, "from_espeak"):
            return None
        return Transcript.of_phones(self.model.from_espeak([name for name, _ in row.phones]))

    @torch.inference_mode()
    def _phones(self, sounds: list[np.ndarray]) -> list[list[str]]:
        sizes = torch.tensor([len(sound) for sound in sounds])
        padded = np.zeros((len(sounds), int(sizes.max())), np.float32)
        for row, sound in zip(padded, sounds, strict=True):
            row[: len(sound)] = sound
        log_mel = extractor(self.spec, self.device)(torch.from_numpy(padded).to(self.device), sizes)
        frames = torch.tensor([self.spec.frames(int(size)) for size in sizes], device=self.device)
        return self.model.transcribe(log_mel, frames)


def _groups(sizes: Sequence[int]) -> list[list[int]]:
    """Places in groups of like size, each at most `_BATCH` when padded.

    >>> _groups([5, 1 << 22, 4])
    [[2, 0], [1]]
    """
    groups: list[list[int]] = [[]]
    for i in sorted(range(len(sizes)), key=lambda i: sizes[i]):
        if groups[-1] and sizes[i] * (len(groups[-1]) + 1) > _BATCH:
            groups.append([])
        groups[-1].append(i)
    return [group for group in groups if group]


def _table(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {} if found is None else {"phone_error": found}
