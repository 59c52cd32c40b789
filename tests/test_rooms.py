"""How many files of the package one command goes through, traced while it runs."""

import os
import sys
from collections.abc import Callable
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FrameType

import pytest

from tests.conftest import TINY
from tests.test_architecture import SOURCE

MAKES = (("models", "convert"), ("vocoders", "forward"), ("audio", "write_blocks"))  # features, a waveform, its file
# none may grow without something new that is done: files were 45 before AdaIN-VC gave the tone (nn/tone.py), 46
# before networks heard recordings at usual levels (audio/usual.py)
FILES, FILES_ON_THE_WAY, ROOMS, FOLDERS = 47, 12, 9, 14
OF_A_NETWORK = 4  # more files where a trained vocoder speaks


class Trace:
    """What runs while a command does.

    Attributes:
        files: of the package, with a function that ran.
        way: those that were waiting for another of them when features, the waveform and its file were made: what a
            reader passes from the command to the waveform, without the helpers looked into beside it.
    """

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.way: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        own = self._own(frame.f_code)
        if event != "call" or own is None:
            return
        self.files.add(own)
        if (own.split(os.sep)[0], frame.f_code.co_name) in MAKES:
            above: FrameType | None = frame
            while above is not None:
                self.way |= {found} if (found := self._own(above.f_code)) else set()
                above = above.f_back

    @staticmethod
    def _own(code: CodeType) -> str | None:
        """The file of a function of the package; what runs when it is imported is none."""
        inside = code.co_filename.startswith(f"{SOURCE}{os.sep}")
        return os.path.relpath(code.co_filename, SOURCE) if inside and code.co_flags & CO_OPTIMIZED else None


def traced(command: Callable[..., tuple[int, str, str]], *arguments: str) -> Trace:
    trace = Trace()
    sys.setprofile(trace)
    try:
        status, _, err = command(*arguments)
    finally:
        sys.setprofile(None)
    assert status == 0, err
    return trace


@pytest.mark.parametrize(
    ("name", "speaks", "more"), [("griffin_lim", "griffin_lim", 0), ("found", "neural", OF_A_NETWORK)]
)
def test_files_from_the_command_to_the_waveform(
    name: str, speaks: str, more: int, command, trained: Path, clip: str, workplace: Path
) -> None:
    settings = [f"ckpt={trained}", f"src={clip}", f"tgt={clip}", f"vocoder={name}"]
    trace = traced(command, "convert", *settings, f"out=outputs/traced/{name}.wav")
    print(f"{len(trace.files)} files ran: {sorted(trace.files)}; {len(trace.way)} on the way: {sorted(trace.way)}")
    assert f"vocoders/{speaks}.py" in trace.way and "conversion/converter.py" in trace.way
    assert len(trace.way) <= FILES_ON_THE_WAY
    assert len(trace.files) <= FILES + more


@pytest.mark.slow
def test_folders_that_a_training_goes_through(command, workplace: Path) -> None:
    settings = [*TINY, "model=adain_vc_small", "debug=tiny", "logger=none", "trainer=cpu"]
    trace = traced(command, "train", *settings, "hydra.run.dir=outputs/rooms")
    folders = {os.path.dirname(file) for file in trace.files} - {""}
    folders = {"models" if folder.startswith("models") else folder for folder in folders}  # a system may be a folder
    rooms = {folder.split(os.sep)[0] for folder in folders}
    print(f"{len(rooms)} rooms: {sorted(rooms)}; {len(folders)} folders: {sorted(folders)}")
    assert len(rooms) <= ROOMS and len(folders) <= FOLDERS
