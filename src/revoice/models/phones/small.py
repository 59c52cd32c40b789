"""The small recognizer of phones, which ships."""

import torch
from torch import Tensor, nn

from revoice.data.read.batch import Batch
from revoice.models.base import MODELS
from revoice.models.phones.recognizer import Block, Inventory, Recognizer
from revoice.nn.augment import masked
from revoice.settings import Factors, Flag, Fraction, Frames, FramesOrNone, OddKernel, Width


@MODELS.register("phones")
class Phones(Recognizer):
    """The small recognizer; padding and other clips of a batch do not change what it hears in a clip.

    Args:
        n_features, inventory, frames, minimum, taught: see `Recognizer`.
        channels, kernel, dilations: of the blocks, one for each dilation.
        dropout: in training.
    """

    def __init__(
        self,
        n_features: Width = 80,
        inventory: Inventory | None = None,
        channels: Width = 192,
        kernel: OddKernel = 5,
        dilations: Factors = (1, 1, 2, 1, 2, 1, 2, 2),
        dropout: Fraction = 0.1,
        frames: Frames = 256,
        minimum: FramesOrNone = 32,
        taught: Flag = False,
    ) -> None:
        super().__init__(n_features, inventory, channels, frames, minimum, taught)
        self.stem = nn.Conv1d(n_features, channels, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(Block(channels, kernel, dilation, dropout) for dilation in dilations)

    def encode(self, log_mel: Tensor, lengths: Tensor, batch: Batch | None = None) -> Tensor:
        """Log-mels (B, F, T) -> (B, ceil(T / 2), width); in training, with bands and times masked."""
        x = self.standardize(log_mel)
        if batch is not None and batch.draws is not None:
            x = masked(x, batch.draws)
        x = x * (torch.arange(x.shape[-1], device=x.device) < lengths[:, None])[:, None]
        x = self.stem(x).transpose(1, 2)
        there = (torch.arange(x.shape[1], device=x.device) < ((lengths + 1) // 2)[:, None])[..., None]
        for block in self.blocks:
            x = block(x, there)
        return x
