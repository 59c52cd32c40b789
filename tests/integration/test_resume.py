"""A run that was interrupted ends where the uninterrupted run ends, bit for bit."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from revoice.checkpoint.description import KEY, Description
from revoice.errors import UserError
from revoice.models.base import MODELS
from revoice.training.build import build
from revoice.training.config import check
from revoice.training.module import VoiceModule
from revoice.training.resume import _require_alike
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
    assert got["global_step"] == expected["global_step"] == 5 and got[KEY] == expected[KEY]
    for name, value in expected["state_dict"].items():
        assert torch.equal(got["state_dict"][name], value), name
    for mine, theirs in zip(got["optimizer_states"], expected["optimizer_states"], strict=True):
        for key, moments in theirs["state"].items():
            assert all(torch.equal(mine["state"][key][k], v) for k, v in moments.items())


def test_a_table_of_other_voices_is_refused(workplace: Path, tmp_path: Path) -> None:
    """Its rows would be given to others; a model that is told the voice by clips has heard both then."""
    for model, words in (([*VQVAE, "model.voice=speaker"], "other speakers"), (ADAIN, "")):
        config = compose_config("train", *model, *SMALL, folder=workplace)
        names = build(config, check({**config, "ckpt_path": None})).description.speakers
        config["callbacks"], first, second = {"checkpoint": config["callbacks"]["checkpoint"]}, names[:2], names[2:4]
        run = tmp_path / str(bool(words))
        train({**config, "data": {**config["data"], "speakers": first}, "max_iterations": 2}, run / "a")
        other = {**config, "data": {**config["data"], "speakers": second}, "ckpt_path": str(run / "a")}
        if words:
            with pytest.raises(UserError, match=f"ckpt_path=.*{words}.*not in both: .*{first[0]}") as error:
                train(other, run / "b")
            assert "\n" not in str(error.value)
        else:
            train(other, run / "b")
            about, before = (weights(run / name)[KEY] for name in ("b", "a"))
            assert about["earlier"] == {"synthetic": first} and about["speakers"] == second
            assert set(about["sentences"]["synthetic"][0]) >= set(before["sentences"]["synthetic"][0])


def test_other_emotions_are_refused(tmp_path: Path) -> None:
    def told(*emotions: Any) -> Description:
        return Description(model="codegan", arguments={"emotions": [*emotions]}, features={})

    one = MODELS.build("voiceprint", {})
    _require_alike(tmp_path, one, told("angry", "sad"), told("angry", "sad"))
    for other in (told("angry", "happy"), told("angry"), replace(told(), arguments={})):
        with pytest.raises(UserError, match="other emotions than the data has .*sad"):
            _require_alike(tmp_path, one, told("angry", "sad"), other)
    with pytest.raises(UserError, match="other"):
        _require_alike(tmp_path, one, told("angry", "sad"), replace(told(), arguments={"emotions": 3}))


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
