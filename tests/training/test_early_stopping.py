"""Early stopping in a run of phases."""

import json
from pathlib import Path

from revoice.training.run import train
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
