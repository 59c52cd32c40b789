"""VoiceGAN: speaker embeddings of people who do not exist.

A conditional generative adversarial network over the vectors of a speaker encoder (WGAN-GP, Gulrajani et al.,
arXiv:1704.00028, with StarGAN's class loss, arXiv:1711.09020). What it makes is a voice for any model that speaks with
such an embedding.
"""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.data.read.batch import Batch, Requires
from revoice.data.read.tables import GENDERS
from revoice.errors import choices
from revoice.models.base import MODELS, Trainable
from revoice.nn.labels import energy_distance, one_hot
from revoice.settings import Width
from revoice.trainable import MODEL, Play

WORDS = {"female": "F", "male": "M"}
SLOPE = 0.02  # of the rectifiers below zero
_PER_REAL = 8  # samples beside each real voice, where the two are compared


@MODELS.register("voicegan")
class VoiceGAN(Trainable):
    """Noise and a gender in, an embedding of length 1 without negative numbers out.

    Which gender a sample is to have is drawn as often as the training data has it; published code takes the batch's
    own, in another order, which is the same on the average.

    Args:
        size: of an embedding.  noise: numbers drawn for a voice.  width: of the two hidden layers.
        sampler: "uniform"; "in_order" is what published code does, whose batches are of one gender each.
    """

    stands_on = ("resemblyzer",)
    measured = ("distance",)

    def __init__(
        self,
        size: Width = 256,
        noise: Width = 256,
        width: Width = 1024,
        sampler: Literal["uniform", "in_order"] = "uniform",
    ) -> None:
        super().__init__()
        self.noise = noise
        self.requires = Requires(fields=("embedding",), frames=None, minimum=0, sampler=sampler, labels=("gender",))
        self.layers = nn.Sequential(
            nn.Linear(noise + len(GENDERS), width), nn.LeakyReLU(SLOPE),
            nn.Linear(width, width), nn.LeakyReLU(SLOPE),
            nn.Linear(width, size),
        )  # fmt: skip
        self.register_buffer("women", torch.tensor(0.5))  # their share in the training data
        self.women: Tensor

    def forward(self, noise: Tensor, gender: Tensor) -> Tensor:
        """Noise (B, N) and places in `GENDERS` (B,) -> embeddings (B, D)."""
        return F.normalize(F.relu(self.layers(torch.cat([noise, one_hot(gender, len(GENDERS), noise)], dim=1))), dim=1)

    def play(self, batch: Batch, part: str = MODEL) -> Play:
        """As many samples as there are voices in the batch; in validation of the very genders of those."""
        assert batch.embedding is not None and batch.gender is not None
        real = F.normalize(batch.embedding, dim=1)
        if batch.draws is None:
            wanted, noise = batch.gender, self._noise(len(real)).to(real)
        else:
            drawn = batch.draws.uniform("gender", device=real.device)
            wanted = (drawn >= self.women).long()  # 0 is a woman
            noise = batch.draws.normal("voice", self.noise, device=real.device)
        return Play({}, fake=self(noise, wanted), real=real, wanted=wanted, own=batch.gender)

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        """`distance`: energy distance (Szekely and Rizzo, 2013) of samples to real voices, genders as coordinates."""
        assert batch.embedding is not None and batch.gender is not None
        wanted = batch.gender.repeat(_PER_REAL)
        noise = self._noise(len(wanted)).to(batch.embedding)
        sides = [(self(noise, wanted), wanted), (F.normalize(batch.embedding, dim=1), batch.gender)]
        made, real = (torch.cat([v.float(), one_hot(g, len(GENDERS))], dim=1) for v, g in sides)
        return {"distance": energy_distance(made, real)}

    def set_labels(self, counts: Mapping[str, Tensor]) -> None:
        """Women and men as often as in the training data."""
        found = counts["gender"].double()
        self.women.copy_(found[0] / found.sum().clamp(min=1))

    @torch.no_grad()
    def sample(self, gender: str, seed: int, count: int = 1) -> Tensor:
        """Embeddings (count, D) of new voices, each of length 1.

        Args:
            gender: "female" or "male", or "F" or "M".
            seed: equal seeds give equal voices on a CPU; the first of many is that of a single one.
            count: how many.

        Raises:
            UserError: no such gender.
        """
        letter = WORDS.get(gender, gender)
        if letter not in GENDERS:
            raise choices(gender, [*WORDS, *GENDERS], "gender")
        weight = next(self.parameters())
        place = torch.full((count,), GENDERS.index(letter), device=weight.device)
        return self(self._noise(count, seed).to(weight), place)

    def _noise(self, count: int, seed: int = 0) -> Tensor:
        """(count, N), on the CPU; row by row, so that the first of many are those of few, whatever N is."""
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([torch.randn(1, self.noise, generator=generator) for _ in range(count)])
