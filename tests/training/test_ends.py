"""Runs that end before their last iteration, and say why."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from revoice.training.config import check
from revoice.training.run import train
from tests.conftest import TINY, VQVAE
from tests.integration.adversarial import config

LEARN = {"turns": [{"part": "generator", "losses": {"reconstruction": 1}}]}


def test_a_phase_is_judged_by_itself_and_one_of_critics_is_not(workplace: Path, tmp_path: Path) -> None:
    """Nothing ever improves by so much, so it stops two validations after the first of the last phase."""
    phases = [{**LEARN, "iterations": 2}, {"iterations": 5, "turns": [{"part": "patch"}]}, LEARN]
    settings = config(workplace, "max_iterations=20", "trainer.val_every=1", schedule=phases)
    settings["callbacks"]["early_stopping"] = {"patience": 2, "min_delta": 1e6}
    found = train(settings, tmp_path)
    assert found.metrics["iterations"] == 7 + 2
    assert found.stopped is not None and not found.by_signal
    assert found.stopped == json.loads((tmp_path / "metrics.json").read_text())["stopped"]
    assert "val/loss has not improved in 2 validations, at iteration 9 of 20" in found.stopped


def test_a_run_that_goes_on_waits_as_long_as_was_typed(workplace: Path, tmp_path: Path) -> None:
    settings = config(workplace, "max_iterations=9", "trainer.val_every=1", schedule=[LEARN])
    settings["callbacks"]["early_stopping"] = {"patience": 2, "min_delta": 1e6}
    assert train(settings, tmp_path / "first").metrics["iterations"] == 3
    settings["callbacks"]["early_stopping"]["patience"] = 5
    settings["ckpt_path"] = str(tmp_path / "first")
    assert train(settings, tmp_path / "second").metrics["iterations"] == 6


@pytest.mark.parametrize("end", [{"iterations": 4}, {"until": "val/generator/reconstruction < 1e6"}])
def test_the_end_of_the_last_phase_is_the_end_of_the_run(workplace: Path, tmp_path: Path, end: dict[str, Any]) -> None:
    settings = config(workplace, "max_iterations=9", "trainer.val_every=4", schedule=[{**LEARN, **end}])
    found = train(settings, tmp_path)
    assert found.metrics["iterations"] == torch.load(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 4
    assert found.stopped == "schedule: its last phase is over at iteration 4 of 9"


def test_a_phase_that_is_never_reached_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    phases = [{**LEARN, "iterations": 5}, {**LEARN, "until": "val/generator/reconstruction < 1"}, LEARN]
    for iterations, words in ((5, "schedule[1] begins after iteration 5"), (6, "schedule[2] begins after iteration 6")):
        check(config(tmp_path, f"max_iterations={iterations}", schedule=phases))
        assert words in caplog.text and "never reached" in caplog.text
        caplog.clear()
    check(config(tmp_path, "max_iterations=7", schedule=phases))
    assert not caplog.text


@pytest.mark.parametrize("sweep", [[], ["-m", "optimized_metric=val/loss"]])
def test_a_run_that_keeps_no_checkpoint_ends_well(sweep: list[str], command, tmp_path: Path) -> None:
    """What is not there is neither loaded for a hint nor stripped of its optimizer."""
    small = [*VQVAE, "debug=tiny", "max_iterations=1", "trainer.val_every=1", "logger=none", "trainer=cpu", *TINY]
    where = [f"hydra.run.dir={tmp_path / 'run'}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    status, out, err = command("train", *sweep, *small, "callbacks.checkpoint=null", *where)
    assert status == 0, err
    assert '"checkpoint": null' in out and "convert:" not in out
