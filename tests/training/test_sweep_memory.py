"""What the jobs of a sweep leave behind, in memory and on disk."""

import gc
import signal
from pathlib import Path

import pytest
import torch

import revoice
from revoice.errors import UserError
from revoice.training.module import VoiceModule
from revoice.training.run import train
from revoice.training.sweep import keep_weights
from tests.conftest import TINY, VQVAE, compose_config

SMALL = [*VQVAE, "debug=tiny", "logger=csv", "trainer=cpu", *TINY]


def test_a_job_that_ended_is_not_held_in_memory(workplace: Path) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    for number in range(2):
        train(compose_config("train", *SMALL, folder=workplace), workplace / "outputs" / f"held_{number}")
    gc.collect()
    assert not [found for found in gc.get_objects() if type(found) is VoiceModule]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == handlers


def test_what_is_kept_of_a_job_converts_and_starts_others_but_is_not_resumed(workplace: Path) -> None:
    folder = workplace / "outputs" / "kept"
    config = compose_config("train", *SMALL, folder=workplace)
    best = train(config, folder).checkpoint
    assert best is not None
    whole, size = torch.load(best, weights_only=True), best.stat().st_size
    keep_weights(folder)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["best.ckpt"]
    left = torch.load(best, weights_only=True)
    assert set(left) == {"revoice", "state_dict", "global_step"} and best.stat().st_size < 0.6 * size
    assert all(torch.equal(value, left["state_dict"][name]) for name, value in whole["state_dict"].items())
    assert revoice.load(folder).model.name == "vqvae"
    train({**config, "init_from": str(folder)}, workplace / "outputs" / "started")
    with pytest.raises(UserError, match="init_from="):
        train({**config, "ckpt_path": str(folder), "max_iterations": 8}, workplace / "outputs" / "resumed")
