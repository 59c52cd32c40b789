"""Runs that SIGKILL ends at random moments, on one process or two, and what a resumed one makes of them."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from revoice.training.run import train
from tests.conftest import ADAIN, TINY, VQVAE, compose_config
from tests.forks import end, start
from tests.integration.adversarial import config as adversarial

KILLS = 20
SETTINGS = ["max_iterations=12", "trainer.val_every=2"]
ADVERSARIAL = "two critics, three phases"
MODELS = {  # few channels: what is tried is when a run ends, and an attempt is then over soon
    "adain_vc_small": ADAIN, "vqvae_small": [*VQVAE, "model.quantizer.codebook_size=16"], ADVERSARIAL: [],
}  # fmt: skip


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def reached(folder: Path, iteration: int) -> bool:
    return (folder / "checkpoints" / "last.ckpt").is_file() and last(folder)["global_step"] >= iteration


def assert_same(mine: Any, theirs: Any, where: str = "") -> None:
    """Bit for bit, tensors and numbers and all."""
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys(), where
        for key, value in theirs.items():
            assert_same(mine[key], value, f"{where}/{key}")
    elif isinstance(theirs, list):
        assert len(mine) == len(theirs), where
        for index, value in enumerate(theirs):
            assert_same(mine[index], value, f"{where}/{index}")
    elif isinstance(theirs, torch.Tensor):
        assert torch.equal(mine, theirs), where
    else:
        assert mine == theirs, where


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_killed_and_resumed_ends_where_the_whole_run_ends(
    model: str, processes: int, workplace: Path, tmp_path: Path
) -> None:
    if model == ADVERSARIAL:
        config = adversarial(workplace, *SETTINGS, f"trainer.devices={processes}")
    else:
        settings = [*MODELS[model], "debug=tiny", "logger=none", "trainer=cpu", f"trainer.devices={processes}", *TINY]
        config = compose_config("train", *settings, *SETTINGS, folder=workplace)
    config["ckpt_path"] = "auto"
    end(start(train, config, tmp_path / "warm"))  # prepares the data
    began = time.monotonic()
    end(start(train, config, tmp_path / "whole"))
    seconds = time.monotonic() - began
    expected = last(tmp_path / "whole")
    assert expected["global_step"] == 12

    moments = random.Random(f"{model} {processes}")
    resumed_at = []
    for number in range(KILLS):
        folder = tmp_path / f"killed_{number}"
        ranks = start(train, config, folder)
        if number % 2:  # however fast the machine is at the moment: soon after a checkpoint in the midst
            wanted = moments.randrange(2, 12, 2)
            while not reached(folder, wanted) and all(rank.is_alive() for rank in ranks):
                time.sleep(0.005)
            time.sleep(moments.uniform(0.0, 0.02))
        else:
            time.sleep(moments.uniform(0.0, seconds))
        for rank in ranks:
            rank.kill()
            rank.join()
        saved = (folder / "checkpoints" / "last.ckpt").is_file()
        resumed_at.append(last(folder)["global_step"] if saved else 0)  # never half written
        if resumed_at[-1] < 12:
            end(start(train, config, folder))
        got = last(folder)
        for part in ("global_step", "state_dict", "optimizer_states", "lr_schedulers", "schedule"):
            assert_same(got[part], expected[part], part)
    print(f"{model}, {processes} processes, {seconds:.1f} s whole: resumed at {sorted(resumed_at)}")
    assert len({step for step in resumed_at if 0 < step < 12}) > 1  # some were killed in the midst of training


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_signal_saves_and_stops_all_processes(processes: int, workplace: Path, tmp_path: Path) -> None:
    settings = [*ADAIN, "debug=tiny", "logger=none", "trainer=cpu", f"trainer.devices={processes}"]
    endless = [
        *settings,
        "max_iterations=100000",
        "trainer.val_every=100000",
        "callbacks.progress={line_every: 1}",
        *TINY,
    ]
    config = compose_config("train", *endless, folder=workplace) | {"ckpt_path": "auto"}
    ranks = start(train, config, tmp_path / "run")
    log = tmp_path / "run.log"
    while not log.is_file() or "iteration " not in log.read_text():
        time.sleep(0.1)
        assert all(rank.is_alive() for rank in ranks)
    os.kill(ranks[0].pid, signal.SIGTERM)  # one of them is enough
    end(ranks, 60.0)
    stopped = last(tmp_path / "run")["global_step"]
    assert 0 < stopped < 100000
    config["max_iterations"] = stopped + 2
    end(start(train, config, tmp_path / "run"))
    assert last(tmp_path / "run")["global_step"] == stopped + 2


@pytest.mark.slow
def test_the_time_limit_is_counted_anew_by_a_resumed_run(workplace: Path, tmp_path: Path) -> None:
    settings = [*ADAIN, "debug=tiny", "logger=none", "max_iterations=100000", *TINY]
    endless = [*settings, "trainer.val_every=100000", "trainer.max_time='00:00:00:02'"]
    config = compose_config("train", *endless, folder=workplace) | {"ckpt_path": "auto"}
    first = train(config, tmp_path / "run")
    assert first.stopped is not None and "max_time" in first.stopped and not first.by_signal
    done = last(tmp_path / "run")["global_step"]
    train(config, tmp_path / "run")
    assert last(tmp_path / "run")["global_step"] > done + 1


def test_a_failed_run_gives_the_signals_back(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from revoice.training.module import VoiceModule

    def fail(self: VoiceModule, batch: Any, index: int) -> None:
        assert signal.getsignal(signal.SIGTERM) is not before
        raise RuntimeError("power cut")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(VoiceModule, "training_step", fail)
    config = compose_config("train", *ADAIN, "debug=tiny", "logger=none", *TINY, folder=workplace)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, tmp_path / "run")
    assert signal.getsignal(signal.SIGTERM) is before
