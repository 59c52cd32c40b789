"""Side files of a run: they go on where the run goes on, and show what was made."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from revoice.training.loggers.wandb import run_id
from revoice.training.module import VoiceModule
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


def test_the_id_of_a_run_is_read_from_what_wandb_left(tmp_path: Path) -> None:
    assert run_id(tmp_path) is None
    for name in ("run-20260102_030405-old", "offline-run-20260203_040506-new-er", "run-notes"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    assert run_id(tmp_path) == "new-er"
    twice = tmp_path / "wandb" / "offline-run-20260203_040506-new-er-1"  # in the same second
    twice.mkdir()
    (twice / "run-new-er.wandb").touch()
    assert run_id(tmp_path) == "new-er"
