"""What a run that goes on takes from the checkpoint, and what from the command."""

from pathlib import Path
from typing import Any

import pytest
import torch

from revoice.errors import UserError
from revoice.training.module import VoiceModule
from revoice.training.parts import build_optimizers
from revoice.training.run import train
from tests.integration.adversarial import SCHEDULE, config
from tests.training.test_adversarial import last


def test_a_run_goes_on_with_another_rate(workplace: Path, tmp_path: Path) -> None:
    settings = config(workplace, "max_iterations=2", schedule=SCHEDULE[:1])
    train(settings, tmp_path / "first")
    settings["optimizer"]["lr"], settings["max_iterations"] = 1e-5, 4
    train({**settings, "ckpt_path": str(tmp_path / "first")}, tmp_path / "second")
    parts = last(tmp_path / "second")["optimizer_states"][0]["parts"]
    rates = {name: state["param_groups"][0]["initial_lr"] for name, state in parts.items()}
    assert rates == {"generator": 1e-5, "listener": 1e-5, "patch": 6e-3, "plain": 1e-5}


def test_it_goes_on_with_the_settings_of_the_optimizer_that_were_typed(
    workplace: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config(workplace, "max_iterations=2", schedule=[{"turns": SCHEDULE[0]["turns"]}])
    train(settings, tmp_path / "first")
    settings["optimizer"] |= {"betas": [0.8, 0.99], "weight_decay": 0.1}
    settings |= {"max_iterations": 3, "ckpt_path": str(tmp_path / "first")}
    caplog.set_level("INFO")
    train(settings, tmp_path / "second")
    parts = last(tmp_path / "second")["optimizer_states"][0]["parts"]
    group = parts["generator"]["param_groups"][0]
    assert group["betas"] == (0.8, 0.99) and group["weight_decay"] == 0.1
    assert "optimizer of generator: weight_decay=0.1 in place of 0" in caplog.text
    steps = {float(each["step"]) for each in parts["generator"]["state"].values()}
    assert steps == {3.0}, "what it remembers goes on"


@pytest.mark.parametrize(("name", "more"), [("adam", {"amsgrad": True}), ("rmsprop", {"centered": True})])
def test_what_needs_a_memory_from_the_start_is_one_line(name: str, more: dict[str, Any]) -> None:
    weight = torch.nn.Linear(2, 2)
    saved = build_optimizers({"name": name, "lr": 0.1}, {}, {"model": weight}, 9)[0].state_dict()
    other = build_optimizers({"name": name, "lr": 0.1, **more}, {}, {"model": weight}, 9)[0]
    with pytest.raises(UserError, match="init_from="):
        other.load_state_dict(saved)


def test_the_same_command_may_be_started_when_all_is_done(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ends = [{**SCHEDULE[0], "iterations": 2}]
    for number, more in enumerate(({"schedule": ends}, {"max_iterations": 2})):
        folder = tmp_path / str(number)
        settings = {**config(workplace, "max_iterations=4", schedule=[SCHEDULE[2]]), **more, "ckpt_path": "auto"}
        first = train(settings, folder)
        before = (folder / "metrics.json").read_text()
        with monkeypatch.context() as patched, caplog.at_level("INFO"):
            patched.setattr(VoiceModule, "training_step", lambda *_: pytest.fail("it learned"))
            again = train(settings, folder)
        assert (again.metrics, again.checkpoint, again.stopped) == (first.metrics, first.checkpoint, first.stopped)
        assert "already done" in caplog.text and (folder / "metrics.json").read_text() == before
        with pytest.raises(UserError, match="raise max_iterations|add a phase"):
            train({**settings, "ckpt_path": str(folder)}, tmp_path / "other")
        caplog.clear()
    assert train({**settings, "max_iterations": 3}, folder).metrics["iterations"] == 3
