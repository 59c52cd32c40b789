"""wav2vec 2.0, by the bundle of torchaudio, which downloads it once."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch

from revoice.audio.io import Audio, resample
from revoice.errors import UserError
from revoice.evaluation.recognition import RATE, RECOGNIZERS, Recognizer, Transcript

BUNDLE = "WAV2VEC2_ASR_BASE_960H"
_LEAST = 400  # samples of one step


@RECOGNIZERS.register("wav2vec2")
class Wav2Vec2(Recognizer):
    """English characters by wav2vec 2.0 base, fine-tuned on LibriSpeech (Baevski et al., 2020): no language model.

    Its 378 MB come from download.pytorch.org at the first use and are kept by torch; a machine without a network takes
    another recognizer.

    Args:
        device: where it runs.
    """

    weights = BUNDLE

    def __init__(self, device: str = "cpu") -> None:
        from torchaudio import pipelines

        bundle = getattr(pipelines, BUNDLE)
        try:
            self.model: Any = bundle.get_model().to(device).eval()
        except (OSError, RuntimeError) as error:  # no network, a full disk, half a file
            reason = " ".join(str(error).split())[:120]
            raise UserError(
                f"recognizer wav2vec2: its weights could not be loaded ({reason}): it needs a network at the first "
                "use; without one type recognizer.name=whisper recognizer.path=FOLDER"
            ) from error
        self.labels, self.device = bundle.get_labels(), device

    @torch.inference_mode()
    def transcribe(self, clips: Sequence[Audio]) -> list[Transcript]:
        """One clip after the other: its normalization hears padding. The likeliest character of each step."""
        return [Transcript.of_text(self._heard(clip)) for clip in clips]

    def _heard(self, clip: Audio) -> str:
        samples = torch.from_numpy(resample(clip.samples, clip.sample_rate, RATE)).to(self.device)
        if len(samples) < _LEAST:
            return ""
        emission, _ = self.model(samples[None])
        return spelled(emission[0].argmax(-1).tolist(), self.labels)


def spelled(steps: Sequence[int], labels: Sequence[str]) -> str:
    """The text of the best label of each step: repeats joined, "-" (label 0) left out, "|" between words.

    >>> spelled([0, 2, 2, 0, 2, 1, 3], ("-", "|", "E", "T"))
    'ee t'
    """
    return "".join(labels[k] for k, _ in groupby(steps) if k).replace("|", " ").lower()
