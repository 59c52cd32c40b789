"""What is said in a waveform, step by step with the frames of a feature matrix, by the encoder of a recognizer."""

import torch
import torchaudio
from torch import Tensor, nn

from revoice.audio.features import extractor
from revoice.audio.presets import load_preset
from revoice.audio.scale import to_scale
from revoice.audio.spec import FeatureSpec
from revoice.nn.remel import interpolated, remel
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

    def of_mels(self, features: Tensor, spec: FeatureSpec) -> Tensor:
        """(B, D, T) of log-mels (B, F, T) that somebody makes; gradients reach those, and not the encoder's weights."""
        wanted = load_preset(PRESET)
        with torch.autocast(features.device.type, enabled=False):
            power, _ = remel(features, spec, wanted)
            log_mel = to_scale(power.transpose(1, 2), wanted).transpose(1, 2)
        still = {name: value.detach() for name, value in self.encoder.state_dict(keep_vars=True).items()}
        steps = torch.func.functional_call(self.encoder, still, (log_mel,)).transpose(1, 2)
        return interpolated(steps, features.shape[-1], RATE * self.hop / self.sample_rate)

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
