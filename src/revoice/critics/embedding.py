"""VoiceGAN's critic: is a speaker embedding a voice's, and is the voice a woman's or a man's?"""

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from revoice.critics.base import CRITICS, Critic, Judged
from revoice.errors import UserError
from revoice.settings import Depth, Number, Whole, Width

Classes = Annotated[Whole, Field(ge=0, le=1 << 12)]


@CRITICS.register("embedding")
class EmbeddingCritic(Critic):
    """A perceptron with two heads, as conditional voice generation by the WGAN-GP of StarGAN has it.

    Args:
        size: of what is judged.
        width, depth: of the hidden layers.
        classes: that it tells; 0: it only scores.
        slope: of the rectifiers below zero.
    """

    def __init__(
        self,
        size: Width = 256,
        width: Width = 1024,
        depth: Depth = 2,
        classes: Classes = 2,
        slope: Annotated[Number, Field(ge=0, lt=1)] = 0.02,
    ) -> None:
        super().__init__()
        widths = [size, *[width] * depth]
        self.size = size
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(narrow, wide), nn.LeakyReLU(slope)) for narrow, wide in pairwise(widths)
        )
        self.score = nn.Linear(width, 1)
        self.told = nn.Linear(width, classes) if classes else None

    def forward(self, x: Tensor, given: Tensor | None = None) -> Judged:
        """Embeddings (B, D) -> a score for each, the hidden layers as maps, and the logits of their classes."""
        if x.ndim != 2 or x.shape[1] != self.size:
            raise UserError(f"critic {self.name} judges vectors of {self.size} numbers, not {tuple(x.shape[1:])}")
        if given is not None:
            raise UserError(f"critic {self.name} judges vectors alone: set given: false")
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return Judged([self.score(x)], [maps], None if self.told is None else self.told(x))
