"""What is said in a waveform, step by step with the frames of a feature matrix, by the encoder of a recognizer."""

import torch
import torchaudio
from torch import Tensor, nn

from revoice.audio.features import extractor
from revoice.audio.presets import load_preset
from revoice.nn.whisper import RATE, WhisperEncoder, WhisperSize

PRESET = "whisper_16k"


class RecognizedContent(nn.Module):
    """Waveforms -> Whisper's encoding of them, interpolated to the frames of other features.

    Args:
        size: of the encoder.
        sample_rate: of the waveforms, Hz.
        hop: samples per frame; frame t is centered on sample (t + 1/2) hop.
    """

    def __init__(self, size: WhisperSize, sample_rate: int, hop: int) -> None:
        super().__init__()
        self.encoder = WhisperEncoder(size)
        self.sample_rate, self.hop = sample_rate, hop

    @property
    def channels(self) -> int:
        """D."""
        return self.encoder.size.width

    def forward(self, waveform: Tensor, frames: int | None = None) -> Tensor:
        """(B, S) -> (B, D, T), T = `frames`, by default S // hop."""
        frames = waveform.shape[-1] // self.hop if frames is None else frames
        spec = load_preset(PRESET)
        with torch.autocast(waveform.device.type, enabled=False):
            heard = torchaudio.functional.resample(waveform.float(), self.sample_rate, spec.sample_rate)
            short = spec.n_fft - heard.shape[-1]
            heard = nn.functional.pad(heard, (0, short)) if short > 0 else heard
            log_mel = extractor(spec, str(waveform.device))(heard)
        steps = self.encoder(log_mel).transpose(1, 2)
        return interpolated(steps, frames, RATE * self.hop / self.sample_rate)


def interpolated(steps: Tensor, frames: int, per_frame: float) -> Tensor:
    """Linear interpolation of (B, D, N) at the centers of frames, `per_frame` steps each -> (B, D, frames).

    Step n lies at n, frame t at (t + 1/2) per_frame; what lies behind the last step holds its value.

    >>> interpolated(torch.tensor([[[0.0, 1.0, 2.0]]]), 4, 0.5).tolist()
    [[[0.25, 0.75, 1.25, 1.75]]]
    """
    last = steps.shape[-1] - 1
    at = ((torch.arange(frames, device=steps.device) + 0.5) * per_frame).clamp(max=last)
    low = at.long().clamp(max=max(last - 1, 0))
    share = (at - low).to(steps.dtype)
    return torch.lerp(steps[..., low], steps[..., (low + 1).clamp(max=last)], share)
