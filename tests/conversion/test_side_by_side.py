"""What a process does of many that convert files side by side."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import revoice
from revoice.audio.io import write_audio
from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded
from revoice.cli.app import device
from revoice.cli.convert import _heard_before, _suited
from revoice.conversion import side_by_side
from revoice.conversion.converter import Converter
from revoice.conversion.outputs import Job, Target
from revoice.data.read.batch import Batch
from revoice.models.base import ConversionModel, Requires
from tests.hostile import RATE, voice


def test_what_is_converted_side_by_side_is_placed_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device(_suited({"name": "anonymizer"})) == "cpu"
    assert device(_suited({"name": "random_cnn"})) == device(_suited(None)) == "cuda"


def test_names_of_a_table_are_looked_up_once() -> None:
    asked = list[object]()
    converter = SimpleNamespace(
        model=SimpleNamespace(target="speaker"), voice=lambda clips: asked.append(clips) or clips
    )
    targets = {Path(name): Target([Path(name)], name) for name in ("ann", "bob")}
    for given in (targets, targets[Path("ann")]):
        hear = _heard_before(converter, given)
        assert hear is not None and hear(converter, targets[Path("ann")]) == [Path("ann")]
    assert asked == [[Path("ann")], [Path("bob")], [Path("ann")]]
    converter.model.target = "clips"
    assert _heard_before(converter, targets) is None


class Slow(ConversionModel):
    """Says that it was asked, and takes its time."""

    name, target = "slow", "none"

    def __init__(self, told: Path) -> None:
        super().__init__()
        self.told, self.requires = told, Requires(fields=("features",), frames=1, minimum=1)

    def convert(self, source: Batch, targets: list[Batch], controls: object) -> torch.Tensor:
        (self.told / f"{time.time_ns()}").touch()
        time.sleep(120)
        return source.features


def test_ctrl_c_ends_the_processes_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, out = tmp_path / "told", tmp_path / "out"
    told.mkdir()
    spec = load_preset("linear_16k")
    about = Description(model="slow", arguments={}, features=spec.to_dict())
    converter = Converter(Loaded(Slow(told), spec, about, None, ""))
    jobs = [(Job(tmp_path / f"{n}.wav", out / f"{n}.wav"), Target([], "slow")) for n in range(2)]
    for job, _ in jobs:
        write_audio(job.source, voice(0.3), RATE)

    def interrupted(pool: ProcessPoolExecutor, work: Callable[..., object], given: list[object]) -> Iterator[object]:
        for one in given:
            pool.submit(work, one)
        while not [*told.iterdir()]:
            time.sleep(0.05)
        raise KeyboardInterrupt
        yield

    before = {*active_children()}
    monkeypatch.setattr(side_by_side.ProcessPoolExecutor, "map", interrupted)
    with pytest.raises(KeyboardInterrupt):
        side_by_side.convert_side_by_side(converter, jobs, converter.controls({}), 1)
    assert {*active_children()} <= before and len([*told.iterdir()]) == 1
    assert not [path for path in out.rglob("*") if path.is_file()]


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
