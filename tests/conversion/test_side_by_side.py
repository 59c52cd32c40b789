"""What a process does of many that convert files side by side."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import revoice
from revoice.audio.io import write_audio
from revoice.conversion import side_by_side
from revoice.conversion.converter import Converter
from revoice.conversion.outputs import Job, Target
from tests.hostile import RATE, voice


class Told:
    def __init__(self) -> None:
        self.begun, self.over = list[Job](), list[Job]()
        self.begin, self.done = self.begun.append, self.over.append


def test_a_voice_is_heard_once_in_a_row_and_every_job_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, f0 in (("a", 120.0), ("b", 180.0)):
        write_audio(tmp_path / f"{name}.wav", voice(0.3, f0=f0), RATE)
    converter, told, heard, plain = revoice.load("random_cnn", settings={"channels": 2}), Told(), [], Converter.voice

    @contextmanager
    def watched(*_: object) -> Iterator[Told]:
        yield told

    monkeypatch.setattr(Converter, "voice", lambda self, clips: heard.append(clips) or plain(self, clips))
    work = side_by_side._Work(converter, converter.controls({"iterations": 1}), watched)
    monkeypatch.setattr(side_by_side, "_work", work)
    monkeypatch.setattr(side_by_side, "_last", None)
    clip = tmp_path / "a.wav"
    targets = [Target([clip], "a"), Target([clip], "a"), Target([tmp_path / "b.wav"], "b")]
    jobs = [Job(clip, tmp_path / f"o{number}.wav") for number in range(len(targets))]
    for pair in zip(jobs, targets, strict=True):
        assert side_by_side._convert(pair).written == [pair[0].out]
    assert heard == [[clip], [tmp_path / "b.wav"]]
    assert told.begun == told.over == jobs
    assert side_by_side._convert((jobs[0], targets[0])).kept and len(heard) == 2  # nothing to do, nothing to hear
    whose = [Target([clip], "a", torch.full((2,), value)) for value in (0.0, 1.0)]  # told apart by what they bring
    monkeypatch.setattr(side_by_side, "voice_of", lambda _, target: target)
    assert [side_by_side._voice(converter, target).embedding[0] for target in whose] == [0.0, 1.0]
