"""Worker processes that die."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from data_helpers import speakers_folder, tone
from test_prepare import SPEC, run

from revoice.data.fields.base import Field
from revoice.data.prepare import selection as module
from revoice.data.prepare.workers import ordered_map
from revoice.errors import UserError


def square_or_die(task: tuple[int, Path | None]) -> int:
    """The first attempt at a task that has a file ends the process."""
    number, file = task
    if file and not file.exists():
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_a_worker_that_is_killed_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tasks = [(number, tmp_path / "died" if number == 4 else None) for number in range(12)]
    found = ordered_map(square_or_die, tasks, 2, lambda task, attempt: pytest.fail("nobody is to blame"))
    assert list(found) == [number * number for number in range(12)]
    assert "a worker process died" in caplog.text and "going on with 1 workers" in caplog.text


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@pytest.mark.parametrize("ending", [KeyboardInterrupt, None])
def test_nobody_waits_for_work_that_is_thrown_away(ending: type[BaseException] | None) -> None:
    found = ordered_map(sleep, [0.0, *[60.0] * 9], 2, lambda task, attempt: pytest.fail("nobody is to blame"))
    assert next(found) == 0.0
    began = time.monotonic()
    if ending is None:
        found.close()
    else:
        with pytest.raises(ending):
            found.throw(ending)
    assert time.monotonic() - began < 30


@dataclass(frozen=True)
class Deadly(Field):
    """A field whose computation ends the process: a decoder that one file crashes."""

    name = "codes"  # type: ignore[misc]
    dtype = "int64"

    @property
    def label(self) -> str:
        return "codes:deadly"

    def parameters(self) -> dict:
        return {}

    def compute(self, clips) -> list:
        if any(len(clip.audio.samples) == 4000 for clip in clips):
            os.abort()
        return [np.arange(SPEC.frames(len(clip.at(SPEC.sample_rate)))) for clip in clips]


def test_a_file_that_crashes_the_decoder_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = speakers_folder(tmp_path / "corpus", speakers=2, clips=3)
    soundfile.write(root / "s1" / "deadly.wav", tone(0.25), 16000)
    monkeypatch.setattr(module, "CHUNK", 3)
    prepared = run(root, tmp_path / "out", ("features", Deadly()), workers=1)
    assert [(r.path, r.reason) for r in prepared.rejected] == [("s1/deadly.wav", "crashes the process that reads it")]
    assert len(prepared.manifest) == 6 and "a worker process died" in caplog.text
    assert not list((tmp_path / "out").rglob("*.part"))


class Hungry(Deadly):
    """A field for which the memory does not suffice."""

    def compute(self, clips) -> list:
        if any(len(clip.audio.samples) == 4000 for clip in clips):
            raise MemoryError
        return super().compute(clips)


def test_a_file_that_memory_does_not_suffice_for_is_rejected(tmp_path: Path) -> None:
    root = speakers_folder(tmp_path / "corpus", speakers=1, clips=2)
    soundfile.write(root / "s0" / "long.wav", tone(0.25), 16000)
    with pytest.raises(UserError, match="needs more memory than there is: .*data.prepare.workers=1") as caught:
        run(root, tmp_path / "out", (Hungry(),), workers=0)
    assert "\n" not in str(caught.value)
    prepared = run(root, tmp_path / "out", (Hungry(),), workers=1)
    assert [(r.path, r.reason) for r in prepared.rejected] == [("s0/long.wav", "needs more memory than there is")]
    assert len(prepared.manifest) == 2
