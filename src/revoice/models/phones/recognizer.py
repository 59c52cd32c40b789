"""A recognizer of English phones: what is heard in a clip, for a phone error rate of conversions.

Connectionist temporal classification (Graves et al. 2006) on a small convolutional network. It has no language model
and hears less than half a second to either side, on purpose: a judge of conversions should hear, not guess.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from revoice.data.fields.inventory import INVENTORY, phones_of
from revoice.data.fields.phones import UNKNOWN
from revoice.data.read.batch import Batch
from revoice.models.base import Requires, Standardizer, Trainable
from revoice.nn.augment import resampled, varied
from revoice.nn.conv import Pointwise
from revoice.nn.edits import edits
from revoice.settings import Word

Inventory = Annotated[tuple[Word, ...], Field(min_length=1, max_length=1 << 12)]
BLANK = 0  # the class of "nothing new"; the phone at place i of the inventory is class i + 1


class Block(nn.Module):
    """Residual block: a normalized convolution over time, GELU, a map of the channels.

    Args:
        channels: C.  kernel, dilation: of the convolution.  dropout: of what is added.
    """

    def __init__(self, channels: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv1d(channels, channels, kernel, padding=dilation * (kernel // 2), dilation=dilation)
        self.out = Pointwise(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """(B, T, C), steps that are there (B, T, 1) -> (B, T, C)."""
        y = self.norm(x) * there  # padding looks like what convolutions see beyond the ends
        y = self.out(F.gelu(self.conv(y.transpose(1, 2)))).transpose(1, 2)
        return x + self.dropout(y)


class Recognizer(Trainable):
    """What the small recognizer and its teacher share: heads on some encoder of 50 steps a second, losses, reading.

    Args:
        n_features: mels F.
        inventory: names of the phones P; None: those of `data.phones`.
        width: channels of the encoder.
        frames, minimum: see `Requires`.
        taught: whether a teacher's posteriors are among the fields.
    """

    preset = "whisper_16k"
    static = False  # phones are counted
    may_change = ("frames", "minimum", "taught", "dropout")
    stands_on = ("whisper",)
    measured = ("per",)

    def __init__(
        self,
        n_features: int,
        inventory: Sequence[str] | None,
        width: int,
        frames: int,
        minimum: int,
        taught: bool = False,
    ) -> None:
        super().__init__()
        self.requires = Requires(
            fields=("features", "phones", *(["posteriors"] if taught else [])), frames=frames, minimum=minimum
        )
        self.inventory = tuple(inventory or INVENTORY)
        self.standardize = Standardizer(n_features)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(self.inventory) + 1)
        self.moments = nn.Linear(width, len(self.inventory) + 1)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """z-score log-mels with these statistics (F,)."""
        self.standardize.set(mean, std)

    def encode(self, log_mel: Tensor, lengths: Tensor, batch: Batch | None = None) -> Tensor:
        """Log-mels (B, F, T), frames that are there (B,) -> (B, ceil(T / 2), width); `batch` in training."""
        raise NotImplementedError

    def log_probs(self, log_mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Log-probabilities of "nothing new" and each phone.

        Args:
            log_mel: (B, F, T) of the preset `whisper_16k`, 100 frames a second.
            lengths: (B,) frames that are there, the rest is padding; None: all.

        Returns:
            (B, 1 + P, ceil(T / 2)) at 50 steps a second.
        """
        return self._log_probs(self.head, self.norm(self.encode(log_mel, _lengths(log_mel, lengths))))

    @torch.no_grad()
    def transcribe(self, log_mel: Tensor, lengths: Tensor | None = None) -> list[list[str]]:
        """The phones heard in each clip, arguments as for `log_probs`: the best class of each step, repeats joined."""
        classes = self._read(self.log_probs(log_mel, lengths), _lengths(log_mel, lengths))
        return [[self.inventory[c - 1] for c in clip] for clip in classes]

    @staticmethod
    def from_espeak(names: Sequence[str]) -> list[str]:
        """espeak-ng's phonemes -> the phones that a transcript of them should have."""
        return [phone for name in names for phone in phones_of(name)]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; a clip with labels has the first two, one without the third.

        ctc: nats per phone.  moments: cross-entropy of the phone (or none) of each step.
        teacher: as ctc, for the phones that the teacher hears: in their order alone, since two networks need not agree
            when a phone is heard (held to the teacher's moments, the student says nothing rather than too late).
        """
        assert batch.phones is not None
        x, lengths, draws = batch.features, batch.lengths, batch.draws
        if draws is None:
            speed = torch.ones(len(batch), device=x.device)
        else:
            speed = torch.exp(0.44 * draws.uniform("speed", device=x.device) - 0.22)
            lengths = (((lengths - 1) / speed).long() + 1).clamp(max=x.shape[-1])
            x = varied(resampled(x, speed), lengths, draws)
        encoded = self.norm(self.encode(x, lengths, batch))
        steps = (lengths + 1) // 2
        there = torch.arange(encoded.shape[1], device=x.device) < steps[:, None]
        found = self._log_probs(self.head, encoded)
        known = (batch.phones != UNKNOWN).all(1)
        phones, counts = _targets(batch.phones, lengths, speed)
        result = {"ctc": _ctc(found, phones, steps, counts, known)}
        place = (torch.arange(encoded.shape[1], device=x.device) * 2 * speed[:, None]).round().long()
        labels = batch.phones.long().gather(1, place.clamp(max=batch.phones.shape[1] - 1)).clamp(min=-1) // 2 + 1
        moments = F.nll_loss(self._log_probs(self.moments, encoded), labels, reduction="none")
        result["moments"] = _mean(moments, there & known[:, None])
        if batch.posteriors is not None:
            taught, counts = _taught(batch.posteriors, lengths, speed)
            result["teacher"] = _ctc(found, taught, steps, counts, counts > 0)
        return result

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        """per: the phone error rate of the crops."""
        assert batch.phones is not None
        counts = _targets(batch.phones, batch.lengths, torch.ones(len(batch), device=batch.features.device))
        heard = self._read(self.log_probs(batch.features, batch.lengths), batch.lengths)
        said = [row[:count].tolist() for row, count in zip(*counts, strict=True)]
        known = (batch.phones != UNKNOWN).all(1).tolist()
        wrong = sum(edits(a, b) for a, b, k in zip(said, heard, known, strict=True) if k)
        total = sum(len(a) for a, k in zip(said, known, strict=True) if k)
        return {"per": torch.tensor(wrong / max(total, 1), device=batch.features.device)}

    def _log_probs(self, head: nn.Linear, encoded: Tensor) -> Tensor:
        return head(encoded).float().log_softmax(-1).transpose(1, 2)

    def _read(self, log_probs: Tensor, lengths: Tensor) -> list[list[int]]:
        steps = ((lengths + 1) // 2).tolist()
        best = log_probs.argmax(1).tolist()
        return [[c for c, _ in groupby(row[:n]) if c != BLANK] for row, n in zip(best, steps, strict=True)]


def _lengths(log_mel: Tensor, lengths: Tensor | None) -> Tensor:
    full = torch.full((log_mel.shape[0],), log_mel.shape[-1], device=log_mel.device)
    return full if lengths is None else lengths.to(log_mel.device)


def _targets(numbers: Tensor, lengths: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers (B, T) of the field `phones` -> classes (B, N) in order, filled up with 0, and how many (B,).

    A phone counts if its middle, at this speed (B,), lies in the first `lengths` (B,) frames.
    """
    place = torch.arange(numbers.shape[1], device=numbers.device) / speed[:, None]
    middle = (numbers >= 0) & (numbers % 2 == 1) & (place < lengths[:, None])
    return _chosen(numbers.long() // 2 + 1, middle)


def _taught(posteriors: Tensor, lengths: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
    """The same of a teacher's posteriors (B, 1 + P, T'): its best class of each step, repeats joined."""
    best = posteriors.argmax(1)
    place = torch.arange(best.shape[1], device=best.device) * 2 / speed[:, None]
    new = (best != BLANK) & (best != F.pad(best, (1, 0))[:, :-1])
    return _chosen(best, new & (place < lengths[:, None]) & (posteriors.sum(1) > 0.5))


def _chosen(classes: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Those of the classes (B, T) that are wanted, moved to the front (B, N) and filled up with 0; how many (B,)."""
    counts = where.sum(1)
    order = (~where).long().argsort(dim=1, stable=True)[:, : max(1, int(counts.max()))]
    there = torch.arange(order.shape[1], device=classes.device) < counts[:, None]
    return classes.gather(1, order) * there, counts


def _ctc(log_probs: Tensor, phones: Tensor, steps: Tensor, counts: Tensor, known: Tensor) -> Tensor:
    """Nats per phone of the clips that are known."""
    nats = F.ctc_loss(
        log_probs.permute(2, 0, 1), phones, steps, counts, blank=BLANK, reduction="none", zero_infinity=True
    )
    return (nats * known).sum() / (counts * known).sum().clamp(min=1)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)
