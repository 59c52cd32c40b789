"""The average of the weights: what is validated, what chooses a checkpoint and what it holds are one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from revoice.training.callbacks.ema import _Average
from revoice.training.callbacks.samples import _Samples
from revoice.training.module import VoiceModule
from revoice.training.run import train
from tests.integration.adversarial import config

KEY = "listener.bias"


def saved(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The average in a checkpoint, and the weights beside it."""
    content = torch.load(path, weights_only=True)
    return content["state_dict"][f"model.{KEY}"], content["current_model_state"][f"model.{KEY}"]


@pytest.mark.parametrize("start", [0, 3, 9])
def test_what_is_measured_is_what_is_saved(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    """Also before the average begins, when it is the model as it is, and where it never does."""
    turns = [{"turns": [{"part": "listener"}]}]
    settings = config(workplace, "max_iterations=4", "trainer.val_every=2", schedule=turns)
    settings["callbacks"]["ema"] = {"decay": 0.5, "start": start}
    settings["callbacks"]["samples"] = {"recognizer": None}
    seen: dict[str, list[torch.Tensor]] = {"losses": [], "samples": []}
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    step, validation = VoiceModule.training_step, VoiceModule.validation_step

    def look(self: VoiceModule, batch: Any, index: int) -> None:
        seen["losses"].append(self.model.state_dict()[KEY].clone())
        validation(self, batch, index)

    def sample(self: _Samples, trainer: Any, module: Any) -> None:
        seen["samples"].append(module.model.state_dict()[KEY].clone())

    def keep(self: VoiceModule, batches: Any, index: int) -> None:
        if self.iteration == 2:
            kept.append(saved(tmp_path / "checkpoints" / "last.ckpt"))
            assert torch.equal(self.model.state_dict()[KEY], kept[0][1]), "learning goes on with its own weights"
        step(self, batches, index)

    monkeypatch.setattr(VoiceModule, "validation_step", look)
    monkeypatch.setattr(VoiceModule, "training_step", keep)
    monkeypatch.setattr(_Samples, "on_validation_epoch_end", sample)
    train(settings, tmp_path)
    kept.append(saved(tmp_path / "checkpoints" / "last.ckpt"))
    for number, (mean, now) in enumerate(kept):
        assert torch.equal(seen["samples"][number], mean), "what is heard"
        assert torch.equal(seen["losses"][number * len(seen["losses"]) // 2], mean), "what is measured"
        assert torch.equal(mean, now) == (2 * (number + 1) <= start + 1), "the first that counts is the model itself"


def test_whole_numbers_are_not_averaged() -> None:
    """The rows that the groups of a codebook begin at: a mean in floating point may fall below them."""
    average = _Average(0.999, 0)
    rows = torch.tensor([0, 320, 640])
    assert torch.equal(average._kwargs["avg_fn"](rows, rows, torch.tensor(5)), rows)
