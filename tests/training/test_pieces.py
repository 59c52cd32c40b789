import pytest
import torch

from revoice.errors import UserError
from revoice.training.objective import Objective
from revoice.training.optimizers import OPTIMIZERS, build_optimizer, learning_rate_factor
from revoice.training.trainer import Place, TrainerSettings, place, precision, settings_of


def test_objective_weights_and_warms_up() -> None:
    objective = Objective({"a": 2, "b": {"value": 1.0, "warmup": 10}, "c": 0})
    losses = {"a": torch.tensor(1.0), "b": torch.tensor(10.0), "c": torch.tensor(float("nan"))}
    assert float(objective(losses, 0)) == pytest.approx(3.0)
    assert float(objective(losses, 99)) == pytest.approx(12.0)


def test_objective_refuses_what_does_not_match() -> None:
    with pytest.raises(UserError, match="do not match"):
        Objective({"a": 1})({"b": torch.tensor(1.0)}, 0)
    with pytest.raises(UserError, match="nothing to train on"):
        Objective({"a": 0})({"a": torch.tensor(1.0)}, 0)
    with pytest.raises(UserError, match="warmup"):
        Objective({"a": {"value": 1, "warm": 2}})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_steps(name: str) -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Linear(16, 3))
    layers[1].bias.requires_grad_(False)
    before = [p.clone() for p in layers.parameters()]
    optimizer = build_optimizer({"name": name, "lr": 0.1, "schedule": {"name": "constant"}}, layers)
    layers(torch.randn(4, 16)).square().sum().backward()
    optimizer.step()
    moved = [not torch.equal(old, new) for old, new in zip(before, layers.parameters(), strict=True)]
    assert moved == [True, True, True, False]


def test_optimizer_mistakes() -> None:
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match="did you mean 'adam'"):
        build_optimizer({"name": "adan"}, layer)
    with pytest.raises(UserError, match="did you mean 'betas'"):
        build_optimizer({"name": "adam", "beta": [0, 1]}, layer)
    with pytest.raises(UserError, match="did you mean 'momentum'"):
        build_optimizer({"name": "muon", "momentun": 0.5}, layer)
    with pytest.raises(UserError, match="cosine"):
        learning_rate_factor({"name": "cosin"}, 10)


def test_schedules() -> None:
    cosine = learning_rate_factor({"name": "cosine", "final": 0.1}, 100)
    assert cosine(0) == 1.0 and cosine(50) == pytest.approx(0.55) and cosine(1000) == pytest.approx(0.1)
    steps = learning_rate_factor({"name": "multistep", "milestones": [10, 20], "gamma": 0.5}, 100)
    assert [steps(i) for i in (9, 10, 20)] == [1.0, 0.5, 0.25]


def test_devices() -> None:
    visible = torch.cuda.device_count()
    assert place(TrainerSettings(gpus=0)).accelerator == "cpu"
    assert place(TrainerSettings(accelerator="cpu", devices=2)).devices == 2
    with pytest.raises(UserError, match=f"{visible + 1} GPUs asked for, {visible} visible"):
        place(TrainerSettings(gpus=visible + 1))
    with pytest.raises(UserError, match="give one of them"):
        place(TrainerSettings(gpus=0, accelerator="cpu"))
    with pytest.raises(UserError, match="did you mean 'bf16-mixed'"):
        settings_of({"precision": "bf16_mixed"})
    if not torch.backends.mps.is_available():
        with pytest.raises(UserError, match="no such device here"):
            place(TrainerSettings(accelerator="mps"))


def test_a_precision_that_the_device_does_not_have_is_refused() -> None:
    half = TrainerSettings(precision="16-mixed")
    assert precision(half, Place("cuda", 1)) == "16-mixed"
    with pytest.raises(UserError, match="trainer.precision=bf16-mixed"):
        precision(half, Place("cpu", 1))
