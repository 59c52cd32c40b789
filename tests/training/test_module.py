"""The LightningModule by itself: no trainer runs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from revoice.checkpoint.description import KEY, Description
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import Requires, Trainable
from revoice.nn.draws import Draws
from revoice.training.module import VoiceModule
from tests.waits import Waits


class Line(Trainable):
    """Predicts features by one weight; its loss is easy to know."""

    def __init__(self) -> None:
        super().__init__()
        self.requires = Requires()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.dropout = nn.Dropout(0.5)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"error": (self.weight * batch.features).mean(), "noise": self.dropout(batch.features).mean()}

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        return {"rate": torch.tensor(0.25)}


def batch(value: float = 3.0, draws: Draws | None = None) -> Batch:
    return Batch(id=("a",), features=torch.full((1, 4, 100), value), lengths=torch.tensor([100]), draws=draws)


def module(folder: Path, iteration: int = 0, **loss: float) -> tuple[VoiceModule, dict[str, Any]]:
    """A module whose logs land in the dictionary."""
    found = VoiceModule(
        Line(), Description(model="line", arguments={}, features={}), loss or {"error": 0.5, "noise": 0},
        {"name": "sgd", "lr": 1.0}, 100, seed=7,
    )  # fmt: skip
    progress = SimpleNamespace(increment_ready=lambda: None, increment_completed=lambda: None)
    epoch = SimpleNamespace(manual_optimization=SimpleNamespace(optim_step_progress=progress))
    made: Any = found.configure_optimizers
    found._trainer = SimpleNamespace(  # type: ignore[assignment]
        global_step=iteration, default_root_dir=str(folder), precision="32-true", strategy=None,
        log_every_n_steps=1, val_check_batch=50, max_steps=100, precision_plugin=None,
        fit_loop=SimpleNamespace(epoch_loop=epoch),
    )  # fmt: skip
    optimizers = made()
    found.optimizers = lambda use_pl_optimizer=True: optimizers["optimizer"]  # type: ignore[method-assign]
    found.lr_schedulers = lambda: optimizers["lr_scheduler"]["scheduler"]  # type: ignore[method-assign]
    logged: dict[str, Any] = {}
    found.log_dict = lambda values, **more: logged.update({k: float(v) for k, v in values.items()})  # type: ignore
    return found, logged


def test_a_step_learns_from_the_weighted_sum_and_logs_every_loss(tmp_path: Path) -> None:
    found, logged = module(tmp_path)
    found.training_step([batch()], 0)
    assert logged["train/loss"] == pytest.approx(3.0) and logged["train/error"] == pytest.approx(6.0)
    assert float(found.model.weight.grad) == pytest.approx(1.5)
    assert float(found.model.weight) == pytest.approx(0.5)  # SGD at rate 1


def test_micro_batches_are_one_batch(tmp_path: Path) -> None:
    found, logged = module(tmp_path)
    found.training_step([batch(2.0), batch(4.0)], 0)
    assert logged["train/error"] == pytest.approx(6.0) and float(found.model.weight) == pytest.approx(0.5)


def test_what_layers_draw_depends_on_seed_iteration_and_place_alone(tmp_path: Path) -> None:
    def noise(iteration: int, first: int) -> float:
        found, logged = module(tmp_path, iteration)
        torch.manual_seed(torch.seed() % 1000)
        found.training_step([batch(draws=Draws(0, iteration, first, 1, 4))], 0)
        return logged["train/noise"]

    assert noise(3, 0) == noise(3, 0)
    assert len({noise(3, 0), noise(4, 0), noise(3, 1)}) == 3


def test_validation_weighs_as_after_all_warm_ups_and_measures(tmp_path: Path) -> None:
    found, logged = module(tmp_path, error={"value": 1.0, "warmup": 50}, noise=0)
    found.eval()
    found.validation_step(batch(), 0)
    assert logged == {
        "val/loss": pytest.approx(6.0), "val/error": pytest.approx(6.0), "val/noise": pytest.approx(3.0),
        "val/rate": 0.25,
    }  # fmt: skip


@pytest.mark.parametrize(("iteration", "count"), [(12, 0), (50, 1)])
def test_an_ordinary_iteration_asks_for_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, iteration: int, count: int
) -> None:
    found, logged = module(tmp_path, iteration)
    found.trainer.log_every_n_steps = 20  # type: ignore[misc]
    monkeypatch.setattr("revoice.training.finite.WAITS", ("cuda", "cpu"))
    batches = [batch(draws=Draws(0, iteration, 0, 1, 1))]
    with Waits() as waits:
        found.training_step(batches, 0)
    assert len(waits.found) == count and not logged


def test_losses_are_gathered_where_somebody_looks(tmp_path: Path) -> None:
    for iteration, shown in ((18, False), (19, True), (48, False), (49, True), (99, True)):
        found, logged = module(tmp_path, iteration)
        found.trainer.log_every_n_steps = 20  # type: ignore[misc]
        found.training_step([batch()], 0)
        assert bool(logged) == shown, iteration


def test_a_loss_that_is_no_number_stops_the_run_and_is_never_saved(tmp_path: Path) -> None:
    found, _ = module(tmp_path, iteration=12)
    with pytest.raises(UserError, match="at or before iteration 12.*no checkpoint was saved yet"):
        found.training_step([batch(float("nan"))], 0)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(UserError, match="last.ckpt"):
        found.on_save_checkpoint({})


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    found, _ = module(tmp_path)
    content: dict[str, Any] = {}
    found.on_save_checkpoint(content)
    assert content[KEY]["model"] == "line"
    found.model.weight.data.fill_(float("inf"))
    with pytest.raises(UserError, match="NaN or infinite"):
        found.on_save_checkpoint({})


def test_the_rate_follows_the_schedule_per_iteration(tmp_path: Path) -> None:
    found, _ = module(tmp_path)
    found.settings["schedule"] = {"name": "cosine", "warmup": 10, "final": 0.1}
    made: Any = found.configure_optimizers()
    schedule, optimizer = made["lr_scheduler"]["scheduler"], made["optimizer"]
    assert made["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.1) and max(rates) <= 1.0 and rates[100] == pytest.approx(0.1)
