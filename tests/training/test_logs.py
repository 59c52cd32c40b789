"""Side files of a run: they go on where the run goes on, and show what was made."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from revoice.training.callbacks.codebook import draw
from revoice.training.loggers import build_loggers
from revoice.training.loggers.tensorboard import TensorBoard
from revoice.training.loggers.wandb import SamplesLogger, run_id
from revoice.training.module import VoiceModule
from revoice.training.reporter import Reporter
from revoice.training.run import train
from tests.conftest import ADAIN, TINY, compose_config

SMALL = [*ADAIN, "debug=tiny", "max_iterations=6", "trainer.val_every=2", *TINY]


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_log_of_a_run_that_goes_on_is_that_of_one_that_was_not_stopped(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_config("train", *SMALL, "logger=csv", folder=workplace)
    config["logger"]["csv"] = {"flush_every": 1}
    train(config, tmp_path / "whole")

    step = VoiceModule.training_step

    def die(self: VoiceModule, batch: Any, index: int) -> Any:
        if self.iteration == 5:  # after the checkpoint of iteration 4: one line was written that is to come again
            raise RuntimeError("power cut")
        return step(self, batch, index)

    monkeypatch.setattr(VoiceModule, "training_step", die)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, tmp_path / "cut")
    monkeypatch.setattr(VoiceModule, "training_step", step)
    assert "4" in {line["step"] for line in lines(tmp_path / "cut")}
    train({**config, "ckpt_path": "auto"}, tmp_path / "cut")
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert [line["step"] for line in lines(tmp_path / "cut") if line["train/loss"]] == ["0", "1", "2", "3", "4", "5"]
    assert [line["step"] for line in lines(tmp_path / "cut") if line["val/loss"]] == ["1", "3", "5"]

    train({**config, "max_iterations": 2}, tmp_path / "cut")  # from nothing again: a log of its own
    assert {line["step"] for line in lines(tmp_path / "cut")} == {"0", "1"}


def test_a_folder_is_one_run_of_wandb_with_sound_picture_and_table(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = compose_config("train", *SMALL, "logger=wandb", "max_iterations=2", folder=workplace)
    config["callbacks"]["samples"] = {"count": 1, "recognizer": None}
    folder = tmp_path / "run"
    train({**config, "ckpt_path": "auto"}, folder)
    media = folder / "wandb" / "latest-run" / "files" / "media"
    assert len(list((media / "audio" / "audio").glob("*.wav"))) == 3  # source, target, converted
    assert list((media / "images" / "pictures").glob("*.png"))
    table = json.loads(next((media / "table" / "samples").glob("*.json")).read_text())
    assert table["columns"] == ["iteration", "from", "to", "said", "source", "target", "converted", "spectrograms"]
    (row,) = table["data"]
    assert row[0] == 2 and row[3] and row[4:] == ["Audio", "Audio", "Audio", "Image"]

    first = run_id(folder)
    train({**config, "ckpt_path": "auto", "max_iterations": 4}, folder)
    runs = [path.name for path in (folder / "wandb").glob("offline-run-*/run-*.wandb")]
    assert first and runs == [f"run-{first}.wandb"] * 2 and run_id(folder) == first


def test_jobs_of_a_sweep_are_called_by_it_and_are_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their folders are called 0, 1, ... in every sweep."""
    made = {}
    monkeypatch.setattr("revoice.training.loggers.wandb.SamplesLogger", lambda **how: made.update(how))
    for folder in ("search/3", "alone/3"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "search" / "multirun.yaml").touch()
    for settings, folder, found in (
        ({}, "search/3", ("search/3", "search")),
        ({"group": "mine"}, "search/3", ("search/3", "mine")),
        ({}, "alone/3", ("3", None)),
    ):
        build_loggers({"wandb": settings}, tmp_path / folder)
        assert (made["name"], made["group"]) == found


def test_the_id_of_a_run_is_read_from_what_wandb_left(tmp_path: Path) -> None:
    assert run_id(tmp_path) is None
    for name in ("run-20260102_030405-old", "offline-run-20260203_040506-new-er", "run-notes"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    assert run_id(tmp_path) == "new-er"
    twice = tmp_path / "wandb" / "offline-run-20260203_040506-new-er-1"  # in the same second
    twice.mkdir()
    (twice / "run-new-er.wandb").touch()
    assert run_id(tmp_path) == "new-er"


@pytest.mark.parametrize("fails", [False, True])
def test_loggers_are_told_how_it_went(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    told: list[Any] = []
    monkeypatch.setattr(SamplesLogger, "finalize", lambda self, status: told.append(status))
    finish = wandb.finish
    monkeypatch.setattr("wandb.finish", lambda exit_code: (told.append(exit_code), finish(exit_code=exit_code)))
    config = compose_config("train", *SMALL, "logger=wandb", "max_iterations=2", folder=workplace)
    config["callbacks"]["samples"] = None
    if fails:
        monkeypatch.setattr(VoiceModule, "training_step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(config, tmp_path)
    else:
        train(config, tmp_path)
    assert told[-2:] == (["failed", 1] if fails else ["success", 0]) and ("success" in told) != fails


def test_tensorboard_keeps_the_pictures_of_the_checkpoint_that_a_run_goes_on_from(tmp_path: Path) -> None:
    """Those of iteration 2 stand at step 1, as its losses do; what an interrupted run logged after it is forgotten."""
    picture = draw(torch.ones(4))
    for done, iterations in ((None, (2, 3)), (2, (4,))):
        logger = TensorBoard().make(tmp_path, "run", done)
        reporter = Reporter(tmp_path, [logger])
        for iteration in iterations:
            logger.log_metrics({"loss": 1.0}, iteration - 1)
            reporter.image("codes", picture, iteration)
        logger.finalize("success")
    found = EventAccumulator(str(tmp_path / "tensorboard"), purge_orphaned_data=True).Reload()
    assert [each.step for each in found.Images("pictures/codes")] == [1, 3]
    assert [each.step for each in found.Scalars("loss")] == [1, 3]
