"""A recognizer on Whisper's frozen encoder, which teaches the small one on speech without labels."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS, Trainable
from revoice.models.phones.recognizer import Block, Inventory, Recognizer
from revoice.nn.whisper import WhisperEncoder, WhisperSize
from revoice.settings import Depth, Fraction, Frames, FramesOrNone, Whole, Width


@MODELS.register("phone_teacher")
class PhoneTeacher(Recognizer):
    """Phones from what Whisper's encoder makes of log-mels: train it with init_from=FILE of the model `whisper`.

    Args:
        n_features, inventory, frames, minimum: see `Recognizer`.
        width, heads, layers: of Whisper's encoder, see `WhisperSize`.
        blocks: blocks between it and the classes.
        dropout: in training.
    """

    grows_from = "whisper"

    def __init__(
        self,
        n_features: Width = 80,
        inventory: Inventory | None = None,
        width: Width = 384,
        heads: Width = 6,
        layers: Depth = 4,
        blocks: Annotated[Whole, Field(ge=0, le=256)] = 1,
        dropout: Fraction = 0.2,
        frames: Frames = 256,
        minimum: FramesOrNone = 32,
    ) -> None:
        super().__init__(n_features, inventory, width, frames, minimum)
        self.encoder = WhisperEncoder(WhisperSize(mels=n_features, width=width, heads=heads, layers=layers))
        self.encoder.requires_grad_(False)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, 3, 1, dropout) for _ in range(blocks))

    def grow_from(self, other: Trainable) -> None:
        """Take over the weights of a Whisper encoder of the same size."""
        assert isinstance(other.encoder, WhisperEncoder), "what `grows_from` names"
        if other.encoder.size != self.encoder.size:
            raise UserError(f"init_from= holds a Whisper of {other.encoder.size}, model= asks for {self.encoder.size}")
        self.encoder.load_state_dict(other.encoder.state_dict())

    def encode(self, log_mel: Tensor, lengths: Tensor, batch: Batch | None = None) -> Tensor:
        """Log-mels (B, F, T) -> (B, ceil(T / 2), width), by the frozen encoder and the blocks on it."""
        with torch.no_grad():
            x = self._whisper(log_mel, lengths)
        there = (torch.arange(x.shape[1], device=x.device) < ((lengths + 1) // 2)[:, None])[..., None]
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, there)
        return x

    def _whisper(self, log_mel: Tensor, lengths: Tensor) -> Tensor:
        """Longer clips in windows of the training crops' length: without its padding to 30 s Whisper loses the thread.

        Neighboring windows share a third, of which each gives its half.
        """
        window = self.requires.crop // 2 * 2
        if log_mel.shape[-1] <= window:
            return self.encoder(log_mel, lengths)
        hop, joined = window // 6 * 4, []
        for start in range(0, log_mel.shape[-1], hop):
            piece = log_mel[..., start : start + window]
            found = self.encoder(piece, (lengths - start).clamp(0, piece.shape[-1]))
            last = start + window >= log_mel.shape[-1]
            keep = (window - hop) // 4 if start else 0
            joined.append(found[:, keep : None if last else hop // 2 + (window - hop) // 4])
            if last:
                break
        return torch.cat(joined, dim=1)
