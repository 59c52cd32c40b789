"""What tells a decoder whose voice it speaks with: a speaker embedding, or a row of a table."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from revoice.errors import UserError

VoiceKind = Literal["embedding", "speaker"]
EMBEDDING = 256  # Resemblyzer's


class VoiceCode(nn.Module):
    """Voice codes (B, dim).

    Args:
        kind: "embedding" maps Resemblyzer's embedding of a clip, so that any voice can be spoken with; "speaker" learns
            a row for each training speaker, the closed set of the published systems.
        dim: of the code.
        n_speakers: rows of the table.
    """

    def __init__(self, kind: VoiceKind, dim: int, n_speakers: int | None) -> None:
        super().__init__()
        self.kind = kind
        self.layer: nn.Embedding | nn.Linear
        if kind == "speaker":
            if not n_speakers:
                raise UserError("voice=speaker needs n_speakers: the number of training speakers")
            self.layer = nn.Embedding(n_speakers, dim)
        else:
            self.layer = nn.Linear(EMBEDDING, dim)

    @property
    def fields(self) -> tuple[str, ...]:
        """Stored fields it needs."""
        return ("embedding",) if self.kind == "embedding" else ()

    def forward(self, told: Tensor | None) -> Tensor:
        """Embeddings (B, 256), or rows of the table (B,), of which -1 is the mean of all -> (B, dim)."""
        assert told is not None
        if self.kind == "embedding":
            return self.layer(told)
        table = torch.cat([self.layer.weight, self.layer.weight.mean(0, keepdim=True)])
        return nn.functional.embedding(told % len(table), table)  # -1 is its last row

    def of(self, clips: Sequence[Tensor | None]) -> Tensor:
        """(1, dim) of a voice from the embeddings (1, 256) of its clips, or from rows (1,) of the table."""
        known = torch.cat([told for told in clips if told is not None])
        if self.kind == "embedding":
            return self.layer(nn.functional.normalize(known.mean(0), dim=0)[None])
        return self.layer(known).mean(0, keepdim=True)
