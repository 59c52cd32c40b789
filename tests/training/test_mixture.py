"""A mixture in the plane: what the adversarial losses, the penalty and the schedule make of it together."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from revoice.checkpoint.description import Description
from revoice.critics.base import CRITICS, Critic, Judged
from revoice.data.read.batch import Batch
from revoice.models.base import Requires, Trainable
from revoice.nn.draws import Draws
from revoice.settings import checked
from revoice.trainable import Play
from revoice.training.module import VoiceModule
from revoice.training.schedule import Phases

ANGLES = torch.arange(8) * (torch.pi / 4)
MODES = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
PHASE = {"turns": [{"part": "plane", "losses": {"critic": 1, "penalty": 0.3}},
                   {"part": "model", "losses": {"adversarial/plane": 1}, "every": 4}]}  # fmt: skip


def network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs))


class Points(Trainable):
    """Points in the plane (B, 2) of noise."""

    def __init__(self) -> None:
        super().__init__()
        self.requires, self.network = Requires(), network(2, 2)

    def play(self, batch: Batch, part: str = "model") -> Play:
        assert batch.draws is not None
        return Play({}, fake=self.network(batch.draws.normal("noise", 2)), real=batch.features)


@CRITICS.register("toy_plane")
class Plane(Critic):
    """Judges points."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network(2, 1)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Judged:
        return Judged([self.network(x)], [[]])


@pytest.mark.slow
def test_the_wasserstein_schedule_finds_all_modes_of_a_mixture() -> None:
    """Eight narrow modes on a circle, none of them lost; the generator learns in each fourth iteration."""
    torch.manual_seed(0)
    model, size, state = Points(), 128, SimpleNamespace(done=0)
    module = VoiceModule(
        model, Description(model="points", arguments={}, features={}), None,
        {"name": "adam", "lr": 2e-3, "betas": [0.0, 0.9]}, 4000,
        critics={"plane": {"name": "toy_plane", "kind": "wasserstein"}}, schedule=checked(Phases, [PHASE], "schedule"),
    )  # fmt: skip
    progress = SimpleNamespace(
        increment_ready=lambda: None, increment_completed=lambda: setattr(state, "done", state.done + 1)
    )
    loops = SimpleNamespace(
        epoch_loop=SimpleNamespace(manual_optimization=SimpleNamespace(optim_step_progress=progress))
    )

    class Running(SimpleNamespace):
        @property
        def global_step(self) -> int:
            return state.done

    running: Any = Running(
        precision="32-true", precision_plugin=None, fit_loop=loops, strategy=None, log_every_n_steps=100,
        val_check_batch=10**6, max_steps=10**6, default_root_dir=".",
    )  # fmt: skip
    module._trainer = running
    made: Any = module.configure_optimizers()
    module.optimizers = lambda use_pl_optimizer=True: made["optimizer"]  # type: ignore[method-assign]
    module.lr_schedulers = lambda: made["lr_scheduler"]["scheduler"]  # type: ignore[method-assign]
    module.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign]
    module.log_dict = lambda values, **more: None  # type: ignore[method-assign]
    for number in range(2000):
        real = MODES[torch.randint(8, (size,))] + 0.05 * torch.randn(size, 2)
        draws = Draws(0, number, 0, size, size)
        module.training_step([Batch(id=("",) * size, features=real, lengths=torch.ones(size), draws=draws)], number)
    with torch.no_grad():
        distance, nearest = torch.cdist(model.network(torch.randn(4000, 2)), MODES).min(dim=1)
    shares = nearest[distance < 0.3].bincount(minlength=8) / 4000
    assert shares.sum() > 0.5 and shares.min() > 1 / 8 / 4
