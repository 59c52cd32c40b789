"""What a model keeps beside its weights: codes that are moving averages, running statistics."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from revoice.data.read.batch import Batch
from revoice.models.base import MODELS, Requires, Trainable
from revoice.nn.batch_norm import BatchNorm1d
from revoice.nn.quantizer import Quantizer, QuantizerSize
from revoice.trainable import Play
from revoice.training.run import train
from tests.integration.adversarial import config

CRITIC = {"patch": {"name": "toy", "kind": "lsgan"}}
BOTH = {"turns": [{"part": "patch"}, {"part": "model", "losses": {"mel": 1, "commitment": 1}, "every": 2}]}


@MODELS.register("toy_codes")
class Codes(Trainable):
    """Features through codes, and through a normalization if wanted."""

    def __init__(self, n_features: int, normed: bool = False, groups: int = 1) -> None:
        super().__init__()
        self.requires = Requires(frames=16, minimum=8)
        self.encoder = nn.Conv1d(n_features, 8, 1)
        self.norm = BatchNorm1d(8) if normed else nn.Identity()
        self.quantizer = Quantizer(QuantizerSize(codebook_size=6, dim=8, groups=groups, init="normal", decay=0.7))
        self.decoder = nn.Conv1d(8, n_features, 1)

    def play(self, batch: Batch, part: str = "model") -> Play:
        codes = self.quantizer(self.norm(self.encoder(batch.features)), batch.draws)
        fake = self.decoder(codes.values)
        losses = {"mel": (fake - batch.features).abs().mean(), "commitment": codes.commitment}
        return Play(losses, fake=fake, real=batch.features)


def state(workplace: Path, folder: Path, phases: Any, *settings: str, **model: Any) -> dict[str, Tensor]:
    values = config(workplace, *settings, schedule=phases)
    values |= {"model": {"name": "toy_codes", **model}, "loss": {"mel": 1, "commitment": 1}, "optimizers": None}
    values["critics"] = CRITIC if phases else None
    values["optimizer"] = {"name": "sgd", "lr": 1e-3}
    train(values, folder)
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("phases", [None, [BOTH]])
@pytest.mark.parametrize("groups", [1, 2])
def test_codes_follow_micro_batches_as_one_batch(workplace: Path, tmp_path: Path, phases: Any, groups: int) -> None:
    """Once in an iteration, also where a critic's turn and the model's play each micro-batch again."""
    one, four = (
        state(workplace, tmp_path / str(n), phases, "max_iterations=5", f"trainer.accumulate={n}", groups=groups)
        for n in (1, 4)
    )
    for name, value in one.items():
        assert torch.allclose(four[name].float(), value.float(), atol=2e-5), name


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_model_that_rests_stays_as_it_is(workplace: Path, tmp_path: Path, accumulate: int) -> None:
    first = {"iterations": 2, "turns": [{"part": "model", "losses": {"mel": 1, "commitment": 1}}]}
    critics = {"iterations": 3, "turns": [{"part": "patch"}]}
    more = (f"trainer.accumulate={accumulate}", "max_iterations=2"), (f"trainer.accumulate={accumulate}",)
    before = state(workplace, tmp_path / "before", [first, BOTH], *more[0], normed=True)
    after = state(workplace, tmp_path / "after", [first, critics, BOTH], "max_iterations=5", *more[1], normed=True)
    moved = {name.split(".")[0] for name in after if not torch.equal(before[name], after[name])}
    assert moved == {"critics"}
    learned = state(workplace, tmp_path / "on", [first, critics, BOTH], "max_iterations=6", *more[1], normed=True)
    for name in ("quantizer.codebook", "norm.running_mean", "encoder.weight"):
        assert not torch.equal(learned[f"model.{name}"], after[f"model.{name}"]), f"{name} goes on with the model"
