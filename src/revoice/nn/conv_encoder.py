"""A small convolutional encoder of what is said, to be taught by a recognizer's; it can do without the future."""

import torch.nn.functional as F
from torch import Tensor, nn

from revoice.nn.convnext import ConvNeXtBlock
from revoice.settings import Depth, Factors, Flag, OddKernel, Width, settings


@settings
class ConvEncoderSize:
    """Sizes of the encoder.

    Attributes:
        mels: rows of the log-mel.  width: of what comes out, that of the teacher.
        channels, hidden, blocks, kernel: of the ConvNeXt blocks.  dilations: of their convolutions, in turn.
        causal: a step depends on no sound after it but 10 ms, the second frame of its pair.
    """

    mels: Width = 80
    width: Width = 384
    channels: Width = 256
    hidden: Width = 1024
    blocks: Depth = 6
    kernel: OddKernel = 11
    dilations: Factors = (1, 2, 4)
    causal: Flag = False


class ConvEncoder(nn.Module):
    """Log-mels of the preset `whisper_16k` -> what is said, 50 steps a second; clips of any length.

    >>> import torch
    >>> ConvEncoder(ConvEncoderSize(width=8, channels=4, hidden=8, blocks=1))(torch.zeros(2, 80, 301)).shape
    torch.Size([2, 151, 8])
    """

    def __init__(self, size: ConvEncoderSize) -> None:
        super().__init__()
        self.size = size
        self.conv1 = nn.Conv1d(size.mels, size.channels, 3)
        self.conv2 = nn.Conv1d(size.channels, size.channels, 3, stride=2)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(
                size.channels, size.hidden, size.kernel, size.dilations[i % len(size.dilations)], causal=size.causal
            )
            for i in range(size.blocks)
        )
        self.norm = nn.LayerNorm(size.channels)
        self.out = nn.Linear(size.channels, size.width)

    def forward(self, log_mel: Tensor) -> Tensor:
        """(B, mels, T) at 100 frames a second -> (B, ceil(T / 2), width) at 50 steps a second."""
        before = 2 if self.size.causal else 1
        x = F.gelu(self.conv1(F.pad(log_mel, (before, 2 - before))))
        # step t stands on the frames 2t - 1 to 2t + 1
        x = F.gelu(self.conv2(F.pad(x, (1, 1))))[..., : (log_mel.shape[-1] + 1) // 2]
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x.transpose(1, 2)))
