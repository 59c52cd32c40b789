"""A training step asks a GPU for nothing, counted on a CPU; and its random numbers can be made there."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from revoice.nn.draws import Draws
from tests.waits import Waits

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from systems import presets, system

SMALL: dict[str, list[str]] = {
    "recsyn": ["+model.content.width=16", "+model.content.heads=2", "+model.content.layers=1"],
    "speechsplit_recognizer": ["+model.content.width=16", "+model.content.heads=2", "+model.content.layers=1"],
    "vocos": ["vocoder.layers=1"],
}
STATIC = [name for name in presets() if not name.startswith("phone")]  # CTC has to know how many phones there are


MATCHED = ("adain_vc_judged", "speechsplit_recognizer", "vqvae_judged")
COSINES = ["scalar_tensor.default"] * 3  # of a match, filled in on the device


@pytest.mark.parametrize("name", STATIC)
def test_nothing_is_asked_for(name: str) -> None:
    assert asked(name, SMALL.get(name, [])) == (COSINES if name in MATCHED else [])


def test_an_encoder_that_learns_asks_no_gpu() -> None:
    settings = ["model.tune=true", "model.match=true", *SMALL["recsyn"]]
    resampled = ["_local_scalar_dense.default", "lift_fresh.default"]  # torchaudio's length, a number on the CPU
    assert sorted(asked("recsyn", settings)) == resampled + COSINES


def asked(name: str, settings: list[str]) -> list[str]:
    """What a step waits for."""
    chosen = system(name, settings)
    losses: dict[str, Any] = {}
    for step in (0, 1):  # the first may look around
        with Waits() as waits:
            losses = chosen.model.play(chosen.batch(2, step)).losses
    sum(loss for loss in losses.values() if loss.requires_grad).backward()
    return waits.found


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_draws_on_a_gpu_are_cut_from_the_same() -> None:
    whole, part = Draws(3, 5, 0, 4, 4), Draws(3, 5, 2, 2, 4)
    for draw in (
        lambda d: d.normal("a", 7, device="cuda"), lambda d: d.uniform("a", device="cuda"),
        lambda d: d.integers("a", 9, 3, device="cuda"),
    ):  # fmt: skip
        assert torch.equal(draw(whole)[2:], draw(part)) and draw(part).is_cuda
    assert sorted(whole.order("a", 50, "cuda").tolist()) == list(range(50))


def test_draws_are_made_where_there_are_generators() -> None:
    draws = Draws(3, 5, 0, 4, 4)
    assert torch.equal(draws.order("a", 9), torch.randperm(9, generator=draws._generator("a", "cpu")))
    assert draws._generator("a", "mps").device.type == "cpu"
