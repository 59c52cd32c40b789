"""What tells a decoder whose voice it speaks with: a speaker embedding, or a row of a table."""

import torch
from torch import Tensor, nn

from revoice.data.read.batch import Batch
from revoice.errors import UserError, choices
from revoice.models.base import Utterance

VOICES = ("embedding", "speaker")
EMBEDDING = 256  # Resemblyzer's


class VoiceCode(nn.Module):
    """Voice codes (B, dim).

    Args:
        kind: "embedding" maps Resemblyzer's embedding of a clip, so that any voice can be spoken with; "speaker" learns
            a row for each training speaker, the closed set of the published systems.
        dim: of the code.
        n_speakers: rows of the table.
    """

    def __init__(self, kind: str, dim: int, n_speakers: int | None) -> None:
        super().__init__()
        if kind not in VOICES:
            raise choices(kind, list(VOICES), "voice")
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

    def of_batch(self, batch: Batch) -> Tensor:
        """(B, dim) of the batch's speakers; one who is not in the table is their mean."""
        if self.kind == "embedding":
            assert batch.embedding is not None
            return self.layer(batch.embedding)
        assert batch.speaker is not None
        known = batch.speaker.clamp(min=0)
        return torch.where((batch.speaker >= 0)[:, None], self.layer(known), self.layer.weight.mean(0))

    def of(self, clips: list[Utterance]) -> Tensor:
        """(1, dim) of a voice from one or more of its clips."""
        if self.kind == "embedding":
            each = torch.stack([clip.embedding for clip in clips if clip.embedding is not None])
            return self.layer(nn.functional.normalize(each.mean(0), dim=0)[None])
        rows = torch.stack([clip.speaker for clip in clips if clip.speaker is not None])
        return self.layer(rows).mean(0, keepdim=True)
