"""A run that was interrupted ends where the uninterrupted run ends, bit for bit."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from revoice.training.module import VoiceModule
from revoice.training.run import train
from tests.conftest import ADAIN, TINY, VQVAE, compose_config

SMALL = ["debug=tiny", "logger=none", "max_iterations=5", "trainer.val_every=2", *TINY]


def weights(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize(
    "extra",
    [
        ADAIN,
        [*ADAIN, "trainer.accumulate=2"],
        [*ADAIN, "callbacks.ema={decay: 0.9}"],
        [*ADAIN, "model.decoder.dropout=0.3"],
        [*ADAIN, "data.stream=true", "data.streaming.workers=0", "data.prepare.shard_utterances=8"],
        VQVAE,
        pytest.param(["model=vqvae_zerospeech", "model.encoder.channels=32"], marks=pytest.mark.slow),
    ],
)
def test_resuming_repeats_the_uninterrupted_run(
    extra: list[str], workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_config("train", *extra, *SMALL, folder=workplace)
    step = VoiceModule.training_step

    def keep(self: VoiceModule, batch: Any, index: int) -> Any:
        if self.iteration == 3:  # what a power cut leaves now
            shutil.copytree(tmp_path / "whole" / "checkpoints", tmp_path / "cut" / "checkpoints")
        return step(self, batch, index)

    monkeypatch.setattr(VoiceModule, "training_step", keep)
    train(config, tmp_path / "whole")
    monkeypatch.setattr(VoiceModule, "training_step", step)
    assert weights(tmp_path / "cut")["global_step"] == 2
    train({**config, "ckpt_path": str(tmp_path / "cut")}, tmp_path / "resumed")

    expected, got = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
    assert got["global_step"] == expected["global_step"] == 5
    for name, value in expected["state_dict"].items():
        assert torch.equal(got["state_dict"][name], value), name
    for mine, theirs in zip(got["optimizer_states"], expected["optimizer_states"], strict=True):
        for key, moments in theirs["state"].items():
            assert all(torch.equal(mine["state"][key][k], v) for k, v in moments.items())


def test_last_finds_the_newest_run(workplace: Path, tmp_path: Path) -> None:
    config = compose_config("train", *ADAIN, *SMALL, folder=workplace)
    train({**config, "max_iterations": 2}, tmp_path / "a")
    outcome = train({**config, "max_iterations": 4, "ckpt_path": "last"}, tmp_path / "b")
    assert outcome.metrics["iterations"] == 4


def test_the_best_so_far_is_carried_into_the_folder_of_the_resumed_run(workplace: Path, tmp_path: Path) -> None:
    config = compose_config("train", *ADAIN, *SMALL, folder=workplace)
    first = train({**config, "max_iterations": 2}, tmp_path / "a")
    heavier = {**config["loss"], "reconstruction": 100.0}  # nothing after it can be better
    config |= {"loss": heavier, "max_iterations": 4, "ckpt_path": "last"}
    resumed = train(config, tmp_path / "b")
    assert resumed.metrics["val/loss"] > first.metrics["val/loss"]
    assert resumed.metrics["best/val/loss"] == first.metrics["best/val/loss"]
    assert resumed.checkpoint == tmp_path / "b" / "checkpoints" / "best.ckpt"
    assert torch.load(resumed.checkpoint, weights_only=True)["global_step"] == 2


def test_a_broken_loss_stops_the_run_and_names_the_last_good_checkpoint(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from revoice.errors import UserError
    from revoice.models.adain_vc import AdaINVC

    losses = AdaINVC.losses
    calls = []

    def broken(self: AdaINVC, batch: Any) -> dict[str, torch.Tensor]:
        calls.append(batch)
        scale = float("nan") if len([c for c in calls if c.draws is not None]) > 3 else 1.0
        return {name: value * scale for name, value in losses(self, batch).items()}

    monkeypatch.setattr(AdaINVC, "losses", broken)
    with pytest.raises(UserError, match=r"NaN.*ckpt_path=.*last\.ckpt"):
        train(compose_config("train", *ADAIN, *SMALL, folder=workplace), tmp_path / "nan")
    kept = weights(tmp_path / "nan")
    assert kept["global_step"] == 2 and all(torch.isfinite(v).all() for v in kept["state_dict"].values())
