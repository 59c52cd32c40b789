"""A batch in pieces, over processes or micro-batches, is one batch, or is refused."""

from pathlib import Path

import pytest
import torch

from revoice.critics.base import CRITICS, Critic, Judged
from revoice.errors import UserError
from revoice.trainable import Play
from revoice.training import adversary
from revoice.training.adversary import Adversary
from revoice.training.config import check
from tests.conftest import compose_config


@CRITICS.register("toy_classes")
class Classes(Critic):
    """Takes its input for the logits of two classes."""

    def forward(self, x: torch.Tensor, given: torch.Tensor | None = None) -> Judged:
        return Judged([x], [[x]], classes=x)


def test_classes_of_unequal_weight_are_those_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    critic = Adversary("c", {"name": "toy_classes"})
    x, own = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 0, 1, 0, 1])
    balance = torch.tensor([0.2, 1.8])

    def loss(part: slice) -> float:
        return float(
            critic.learn(Play({}, fake=x[part], real=x[part], own=own[part], balance=balance), ["class"], None)["class"]
        )

    whole = loss(slice(6))
    assert loss(slice(3)) + loss(slice(3, 6)) != pytest.approx(2 * whole, rel=0.01)
    monkeypatch.setattr(adversary, "processes", lambda: 2)
    monkeypatch.setattr(adversary, "summed", lambda local: balance[own].sum())
    assert loss(slice(3)) + loss(slice(3, 6)) == pytest.approx(2 * whole, rel=1e-6)


@pytest.mark.parametrize("pieces", [["trainer.devices=2"], ["trainer.accumulate=2"]])
def test_a_penalty_of_the_whole_batch_is_refused_in_pieces(tmp_path: Path, pieces: list[str]) -> None:
    settings = ["model=voicegan", "critics.voices.joint=true", "trainer=cpu"]
    check(compose_config("train", *settings, folder=tmp_path))
    with pytest.raises(UserError, match="critics.voices.joint=true.*2 pieces.*trainer.devices=1 trainer.accumulate=1"):
        check(compose_config("train", *settings, *pieces, folder=tmp_path))
