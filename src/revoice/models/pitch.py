"""What trains the pitch network: true contours of clean recordings, found again in recordings made worse."""

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.audio.pitch_network import CLASSES, HOP, SAMPLE_RATE, PitchNetwork, classes, hertz
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS, Requires, Trainable
from revoice.nn.degrade import degraded
from revoice.settings import Count, Factors, Frames, OddKernel, Width

SLOWEST, FASTEST = 2 / 3, 3 / 2  # a crop is played at some speed between, and its pitch moves along
BLUR = 1.25  # classes: deviation of what counts as right
NEAR = 50.0  # cents: an estimate that is so near is right


@MODELS.register("pitch")
class Pitch(Trainable):
    """A `PitchNetwork` that learns. It does not convert; what it learned is a method of `revoice.audio.pitch`.

    Args:
        channels, hidden, kernel, dilations: see `PitchNetwork`.
        frames: of what it hears at once; crops are half as long again, to be played faster.
        sample_rate, hop: of the features: those of the network.
    """

    preset = "whisper_16k"
    may_change = ("frames",)
    measured = ("right", "gross", "voicing")

    def __init__(
        self,
        channels: Width = 192,
        hidden: Width = 384,
        kernel: OddKernel = 7,
        dilations: Factors = (1, 1, 2, 1, 2, 4),
        frames: Frames = 128,
        sample_rate: Count = SAMPLE_RATE,
        hop: Count = HOP,
    ) -> None:
        super().__init__()
        if (sample_rate, hop) != (SAMPLE_RATE, HOP):
            raise UserError(
                f"model=pitch hears {SAMPLE_RATE} Hz in steps of {HOP} samples, these features have {sample_rate} and "
                f"{hop}: take features=whisper_16k"
            )
        self.requires = Requires(fields=("features", "f0", "waveform"), frames=round(frames * FASTEST), minimum=64)
        self.frames = frames
        self.network = PitchNetwork(channels, hidden, kernel, dilations)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """pitch: cross-entropy of the blurred class where there is pitch.  voicing: of whether there is one."""
        assert batch.f0 is not None and batch.waveform is not None
        waveform, f0, there = batch.waveform, batch.f0, self._there(batch)
        if batch.draws is not None:
            waveform, f0, there = self._played(waveform, f0, there, batch)
            waveform = degraded(waveform, SAMPLE_RATE, batch.draws)
        pitches, voiced = self._found(waveform, f0.shape[1])
        place = classes(f0)
        target = torch.exp(-0.5 * ((torch.arange(CLASSES, device=f0.device) - place[..., None]) / BLUR).square())
        target = target / target.sum(-1, keepdim=True).clamp(min=1e-9)
        known = there & (place >= 0) & (place <= CLASSES - 1)
        entropy = -(target * pitches.log_softmax(-1)).sum(-1)
        unsure = F.binary_cross_entropy_with_logits(voiced, (f0 > 0).float(), reduction="none")
        return {"pitch": _mean(entropy, known), "voicing": _mean(unsure, there)}

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        """Shares of frames: right (within 50 cents) and gross (a fifth off) of the voiced, voicing of all."""
        assert batch.f0 is not None and batch.waveform is not None
        there = self._there(batch)
        pitches, voiced = self._found(batch.waveform, batch.f0.shape[1])
        known = there & (batch.f0 > 0)
        off = 1200 * (hertz(pitches) / batch.f0.clamp(min=1.0)).log2().abs()
        return {
            "right": _mean((off < NEAR).float(), known),
            "gross": _mean((off > 700).float(), known),
            "voicing": _mean(((voiced > 0) != (batch.f0 > 0)).float(), there),
        }

    def _found(self, waveform: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        level = waveform.float().square().mean(1, keepdim=True).clamp(min=1e-12).rsqrt()
        with torch.autocast(waveform.device.type, enabled=False):
            heard = self.network.heard(waveform.float() * level)
        pitches, voiced = self.network(heard[:, :frames])
        return pitches, voiced

    @staticmethod
    def _there(batch: Batch) -> Tensor:
        assert batch.f0 is not None
        return torch.arange(batch.f0.shape[1], device=batch.f0.device) < batch.lengths[:, None]

    def _played(self, waveform: Tensor, f0: Tensor, there: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Crops at other speeds: samples (B, frames x HOP), f0 and what is there (B, frames)."""
        assert batch.draws is not None
        device = waveform.device
        speed = SLOWEST * (FASTEST / SLOWEST) ** batch.draws.uniform("speed", device=device)[:, None]
        at = torch.arange(self.frames * HOP, device=device) * speed
        low = at.long().clamp(max=waveform.shape[1] - 2)
        played = torch.lerp(waveform.gather(1, low), waveform.gather(1, low + 1), (at - low).clamp(max=1.0))
        frame = (torch.arange(self.frames, device=device) * speed).round().long().clamp(max=f0.shape[1] - 1)
        return played, f0.gather(1, frame) * speed, there.gather(1, frame)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)
