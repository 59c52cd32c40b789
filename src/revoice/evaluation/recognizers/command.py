"""Any program that prints what it hears."""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from revoice.atomic import digest
from revoice.audio.io import Audio, resample, write_audio
from revoice.errors import UserError
from revoice.evaluation.recognition import RATE, RECOGNIZERS, Recognizer, Transcript
from revoice.settings import Positive, Word, Words

EXAMPLE = "recognizer.command='my_asr {wav}'"


@RECOGNIZERS.register("command")
class Command(Recognizer):
    """Words by a program of yours, called once for each clip, without a shell; it prints the text.

    Args:
        command: program and arguments; `{wav}` stands for a WAV file, mono, 16 bits, 16 kHz.
        stands_on: names of recognizers that it is made of, e.g. whisper; systems that stand on these are flattered.
        timeout: seconds that one clip may take.
    """

    def __init__(self, command: Word | None = None, stands_on: Words = (), timeout: Positive = 600.0) -> None:
        if not command or not command.strip():
            raise UserError(f"recognizer command: which one? Type {EXAMPLE}")
        try:
            self.arguments = shlex.split(command)
        except ValueError as error:
            raise UserError(f"recognizer.command={command}: {error}: expected e.g. {EXAMPLE}") from error
        if not any("{wav}" in argument for argument in self.arguments[1:]):
            raise UserError(f"recognizer.command={command}: no {{wav}} in its arguments: expected e.g. {EXAMPLE}")
        files = [shutil.which(self.arguments[0]) or self.arguments[0], *self.arguments[1:]]
        sums = [found for file in files if (found := digest(Path(file)))]
        self.weights = f"{command} (sha256 {', '.join(sums)})" if sums else command
        self.timeout = timeout
        self.stands_on = stands_on

    @classmethod
    def missing(cls) -> str:
        """What has to be typed: there is no program of its own."""
        return f"it needs {EXAMPLE}"

    def transcribe(self, clips: Sequence[Audio]) -> list[Transcript]:
        """One call of the program for each clip."""
        with tempfile.TemporaryDirectory() as folder:
            return [self._heard(clip, Path(folder) / f"{number}.wav") for number, clip in enumerate(clips)]

    def _heard(self, clip: Audio, wav: Path) -> Transcript:
        write_audio(wav, resample(clip.samples, clip.sample_rate, RATE), RATE)
        arguments = [argument.replace("{wav}", str(wav)) for argument in self.arguments]
        try:
            done = subprocess.run(
                arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=self.timeout,
            )  # fmt: skip
        except OSError as error:
            raise UserError(
                f"recognizer.command: {arguments[0]} cannot be run ({error.strerror}): expected a program"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"recognizer.command: {arguments[0]} took more than {self.timeout:g} s for one clip: raise "
                "recognizer.timeout"
            ) from error
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise UserError(f"recognizer.command: {arguments[0]} failed with status {done.returncode}: {last}")
        wav.unlink()
        return Transcript.of_text(done.stdout)
