"""PocketSphinx: hidden Markov models and a trigram, of another making than any network."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from revoice.audio.io import Audio, resample
from revoice.errors import UserError
from revoice.evaluation.recognition import RATE, RECOGNIZERS, Recognizer, Transcript


@RECOGNIZERS.register("pocketsphinx")
class PocketSphinx(Recognizer):
    """English words by the models inside the package; weak, and related to nothing that a system could stand on."""

    weights = "en-us"

    def __init__(self) -> None:
        if self.missing():
            raise UserError(f"recognizer pocketsphinx: {self.missing()}")
        from pocketsphinx import Decoder

        self.decoder = Decoder(samprate=RATE, cmn="batch", loglevel="FATAL")

    @classmethod
    def missing(cls) -> str:
        """How to install the package, which brings its English model."""
        if find_spec("pocketsphinx") is None:
            return "the package pocketsphinx is not installed: pip install 'revoice[evaluation]'"
        return ""

    def transcribe(self, clips: Sequence[Audio]) -> list[Transcript]:
        """One clip after the other."""
        return [Transcript.of_text(self._heard(resample(clip.samples, clip.sample_rate, RATE))) for clip in clips]

    def _heard(self, samples: np.ndarray) -> str:
        self.decoder.reinit_feat()  # or else what was heard before would matter
        self.decoder.start_utt()
        whole = np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
        self.decoder.process_raw(whole.tobytes(), full_utt=True)
        self.decoder.end_utt()
        found = self.decoder.hyp()
        return found.hypstr if found else ""
