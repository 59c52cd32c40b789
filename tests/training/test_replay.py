"""Iterations replayed from the same tensors, on a CPU by doing the work again."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from torch import Tensor

from revoice.errors import UserError
from revoice.nn.draws import Draws
from revoice.training.replay import KeptDraws, Replay

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from systems import fit, module_of, system

SMALL = [
    "optimizer=adam", "optimizer.schedule.name=cosine", "optimizer.schedule.warmup=3", "model.decoder.dropout=0.1",
    "loss.kl.value=1", "loss.kl.warmup=20",
]  # fmt: skip
VQ = ["optimizer=adam", "model.quantizer.jitter=0.5"]


class Take(Callback):
    """Replays from the start, and notes where the tensors lie."""

    def __init__(self, replayed: bool) -> None:
        self.replayed = replayed
        self.places: set[tuple[int, ...]] = set()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if self.replayed:
            pl_module.replay = Replay(pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.replayed:
            fixed = pl_module.replay.batch
            values = [*vars(fixed).values(), *fixed.draws.kept.values(), *pl_module.replay.weights.values()]
            self.places.add(tuple(value.data_ptr() for value in values if isinstance(value, Tensor)))


def trained(name: str, settings: list[str], replayed: bool, precision: str) -> tuple[dict[str, Tensor], Take]:
    chosen, take = system(name, settings), Take(replayed)
    trainer, module = fit(
        chosen, chosen.batch(4), 8, [take], gpus=None, accelerator="cpu", devices=1, precision=precision
    )
    assert not replayed or (module.replay is not None and module.replay.done == 8)
    return chosen.model.state_dict(), take


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings", "precision"), [
    ("adain_vc_small", SMALL, "32"), ("adain_vc_small", SMALL, "bf16-mixed"), ("vqvae_small", VQ, "32"),
])  # fmt: skip
def test_replayed_iterations_give_the_same_weights_from_tensors_that_stay(
    name: str, settings: list[str], precision: str
) -> None:
    plain, _ = trained(name, settings, False, precision)
    replayed, take = trained(name, settings, True, precision)
    assert len(take.places) == 1
    for key, value in plain.items():
        assert torch.equal(value, replayed[key]), key


def test_kept_draws_are_those_of_the_iteration() -> None:
    kept = KeptDraws(3, 0, 2, 2, 4)
    ask = (
        lambda d: d.normal("a", 5), lambda d: d.uniform("a"), lambda d: d.integers("b", 9, 3), lambda d: d.order("c", 7)
    )  # fmt: skip
    assert all(torch.equal(draw(kept), draw(Draws(3, 0, 2, 2, 4))) for draw in ask)
    places = [draw(kept).data_ptr() for draw in ask]
    kept.fill(Draws(3, 1, 2, 2, 4))
    assert all(torch.equal(draw(kept), draw(Draws(3, 1, 2, 2, 4))) for draw in ask)
    assert [draw(kept).data_ptr() for draw in ask] == places


def test_a_batch_of_another_shape_is_not_replayed() -> None:
    chosen = system("adain_vc_small", SMALL)
    module = module_of(chosen, 10)
    replay, due = Replay(module), module.schedule.due(0)
    assert replay.fits([chosen.batch(4)], due) and not replay.fits([chosen.batch(3)], due)
    assert not replay.fits([chosen.batch(4)] * 2, due)


def test_what_is_demanded_and_cannot_be_is_said() -> None:
    chosen = system("adain_vc_small", SMALL)
    with pytest.raises(UserError, match="trainer.graph=true: it takes a CUDA device"):
        fit(chosen, chosen.batch(2), 1, graph=True, gpus=None, accelerator="cpu", devices=1, precision="32")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["adain_vc", "vqvae"])
def test_a_gpu_replays_what_it_would_have_done(name: str) -> None:
    found = []
    for graph in (False, True):
        chosen = system(name)
        batch = chosen.batch(8).to("cuda")
        fit(chosen, batch, 20, graph=graph, gpus=None, accelerator="cuda", devices=1, precision="bf16-mixed")
        found.append(torch.cat([weight.detach().flatten().cpu() for weight in chosen.model.parameters()]))
    assert (found[0] - found[1]).abs().max() < 1e-3
