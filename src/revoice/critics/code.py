"""CodeGAN's critic: is a sequence of codes one that speech has, and of which emotion?"""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from revoice.critics.base import CRITICS, Critic, Judged
from revoice.errors import UserError
from revoice.settings import Number, Whole, Width

STRIDES = (1, 2, 2, 2, 2)  # of the layers: 24 steps become 1
PUBLISHED = (66, 4)  # channels and classes, where nobody says
Classes = Annotated[Whole, Field(ge=0, le=1 << 12)]


@CRITICS.register("code")
class CodeCritic(Critic):
    """Five convolutions over time without normalization, and two heads: StarGAN's critic (arXiv:1711.09020) in 1-D.

    The first two layers keep two halves of the channels apart where there are evenly many, as published; the halves are
    not those of pitch and rhythm. Sequences of other lengths than 24 are scored at every place that is left, and the
    class is the mean over them.

    Args:
        channels: of a code; None: those of the model's, see `Trainable.judged`.
        width: of the first layer; it doubles with every one.
        classes: that it tells; 0: it only scores; None: those of the model.
        slope: of the rectifiers below zero.
    """

    def __init__(
        self,
        channels: Width | None = None,
        width: Annotated[Whole, Field(ge=2, le=1 << 12, multiple_of=2)] = 128,
        classes: Classes | None = None,
        slope: Annotated[Number, Field(ge=0, lt=1)] = 0.01,
    ) -> None:
        super().__init__()
        channels, classes = PUBLISHED[0] if channels is None else channels, PUBLISHED[1] if classes is None else classes
        self.channels, self.least = channels, 16
        halves = 2 if channels % 2 == 0 else 1
        widths = [channels, *(width * 2**i for i in range(len(STRIDES)))]
        self.layers = nn.ModuleList()
        for i, stride in enumerate(STRIDES):
            kernel, groups = (2 if i else 3), (halves if i < 2 else 1)
            layer = nn.Conv1d(widths[i], widths[i + 1], kernel, stride, padding=0 if i else 1, groups=groups)
            self.layers.append(nn.Sequential(layer, nn.LeakyReLU(slope)))
        self.score = nn.Conv1d(widths[-1], 1, 1)
        self.told = nn.Conv1d(widths[-1], classes, 1) if classes else None

    def forward(self, x: Tensor, given: Tensor | None = None) -> Judged:
        """Codes (B, C, N) -> scores (B, N / 16), the layers as maps, and the logits of their classes."""
        if x.ndim != 3 or x.shape[1] != self.channels:
            raise UserError(
                f"critic {self.name} has channels={self.channels}, the codes {x.shape[1]}: give the critic as many"
            )
        if given is not None:
            raise UserError(f"critic {self.name} judges codes alone: set given: false")
        if x.shape[2] < self.least:
            raise UserError(f"critic {self.name} needs {self.least} codes, a crop has {x.shape[2]}: make it longer")
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        told = None if self.told is None else self.told(x).mean(2)
        return Judged([self.score(x).flatten(1)], [maps], told)
