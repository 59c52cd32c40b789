"""wav2vec 2.0, by the bundle of torchaudio, which downloads it once."""

from collections.abc import Sequence
from http.client import HTTPException
from itertools import groupby
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from revoice.audio.io import Audio, resample
from revoice.errors import UserError
from revoice.evaluation.recognition import RECOGNIZERS, Recognizer, Transcript

BUNDLE = "WAV2VEC2_ASR_BASE_960H"
_LEAST = 400  # samples of one step


@RECOGNIZERS.register("wav2vec2")
class Wav2Vec2(Recognizer):
    """English characters by wav2vec 2.0 base, fine-tuned on LibriSpeech (Baevski et al., 2020): no language model.

    Its 378 MB come from download.pytorch.org at the first use and are kept by torch; a machine without a network takes
    another recognizer.

    Args:
        device: where it runs.

    Raises:
        UserError: the weights cannot be had, or a file that was downloaded before is none of weights.
    """

    weights = BUNDLE

    def __init__(self, device: str = "cpu") -> None:
        from torchaudio import pipelines

        bundle = getattr(pipelines, BUNDLE)
        try:
            # tensors alone: what was downloaded is not to run anything
            model = bundle.get_model(dl_kwargs={"weights_only": True})
        except (OSError, HTTPException, RuntimeError, EOFError, UnpicklingError, KeyError, TypeError) as error:
            raise UserError(_refusal(error)) from error
        self.model: Any = model.to(device).eval()
        self.labels, self.rate, self.device = bundle.get_labels(), int(bundle.sample_rate), device

    @torch.inference_mode()
    def transcribe(self, clips: Sequence[Audio]) -> list[Transcript]:
        """One clip after the other: its normalization hears padding. The likeliest character of each step."""
        return [Transcript.of_text(self._heard(clip)) for clip in clips]

    def _heard(self, clip: Audio) -> str:
        samples = torch.from_numpy(resample(clip.samples, clip.sample_rate, self.rate)).to(self.device)
        if len(samples) < _LEAST:
            return ""
        emission, _ = self.model(samples[None])
        return spelled(emission[0].argmax(-1).tolist(), self.labels)


def _refusal(error: Exception) -> str:
    """What is told of weights that cannot be used: no network, a full disk, half a file."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
    kept = sorted((Path(torch.hub.get_dir()) / "checkpoints").glob("wav2vec2_fairseq_base_ls960_asr_ls960*"))
    return (
        f"recognizer wav2vec2: its weights could not be loaded ({reason}): "
        + (f"delete {kept[0]} to download it again" if kept else "it needs a network at the first use")
        + "; without a network type metrics.recognizer.name=whisper metrics.recognizer.path=FOLDER"
    )


def spelled(steps: Sequence[int], labels: Sequence[str]) -> str:
    """The text of the best label of each step: repeats joined, "-" (label 0) left out, "|" between words.

    >>> spelled([0, 2, 2, 0, 2, 1, 3], ("-", "|", "E", "T"))
    'ee t'
    """
    return "".join(labels[k] for k, _ in groupby(steps) if k).replace("|", " ").lower()
