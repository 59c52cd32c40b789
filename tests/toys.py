"""Small networks that learn in turns, to try the core with."""

import torch
from torch import Tensor, nn

from revoice.critics.base import CRITICS, Critic, Judged
from revoice.data.read.batch import Batch
from revoice.models.base import MODELS, Requires, Trainable
from revoice.trainable import Play


@MODELS.register("toy_pair")
class Pair(Trainable):
    """A generator of features from noise and pitch, and a part that predicts the pitch from features."""

    def __init__(self, n_features: int, width: int = 16, dropout: float = 0.1) -> None:
        super().__init__()
        self.requires = Requires(fields=("features", "f0"), frames=16, minimum=8)
        self.generator = nn.Sequential(
            nn.Conv1d(n_features, width, 3, padding=1), nn.Tanh(), nn.Dropout(dropout), nn.Conv1d(width, n_features, 1)
        )
        self.listener = nn.Conv1d(n_features, 1, 3, padding=1)

    def parts(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "listener": self.listener}

    def play(self, batch: Batch, part: str = "generator") -> Play:
        assert batch.f0 is not None
        if part == "listener":
            pitch = self.listener(batch.features)[:, 0]
            return Play({"pitch": (pitch - (batch.f0 / 200 - 1)).square().mean()})
        rough = batch.features.mean(2, keepdim=True).expand_as(batch.features)
        noise = torch.zeros_like(rough)
        if batch.draws is not None:
            shape = rough.shape[1:]
            noise = batch.draws.normal("noise", *shape, device=rough.device).to(rough.dtype)
        fake = rough + self.generator(rough + 0.5 * noise)
        return Play(
            {"reconstruction": (fake - batch.features).abs().mean()}, fake=fake, real=batch.features, given=rough
        )


@CRITICS.register("toy")
class Toy(Critic):
    """Judges (B, F, T) by two convolutions."""

    conditional = True

    def __init__(self, channels: int = 80, width: int = 12) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(channels, width, 3, padding=1), nn.Conv1d(width, 1, 3, padding=1)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Judged:
        hidden = nn.functional.leaky_relu(self.first(x if given is None else x - given), 0.2)
        return Judged([self.last(hidden)], [[hidden]])
