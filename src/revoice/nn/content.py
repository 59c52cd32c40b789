"""What is said in a waveform, step by step with the frames of a feature matrix, by the encoder of a recognizer."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import torch
import torchaudio
from pydantic import BeforeValidator
from torch import Tensor, nn

from revoice.audio.features import extractor
from revoice.audio.presets import load_preset
from revoice.audio.scale import to_scale
from revoice.audio.spec import FeatureSpec
from revoice.errors import choices
from revoice.mistakes import Expected
from revoice.nn.conv_encoder import ConvEncoder, ConvEncoderSize
from revoice.nn.remel import interpolated, remel
from revoice.nn.whisper import RATE, WhisperEncoder, WhisperSize
from revoice.settings import checked, from_mapping

PRESET = "whisper_16k"
Encoder = WhisperEncoder | ConvEncoder
WHISPER, CONVOLUTIONAL = "whisper", "convolutional"


def _by_name(value: Any) -> Any:
    """Sizes of an encoder from settings with its `name`, whisper if there is none."""
    if not isinstance(value, Mapping):
        return value
    sizes = dict(value)
    name = sizes.pop("name", WHISPER)
    if not isinstance(name, str) or name not in SIZES:
        raise choices(str(name), SIZES, "model.content.name")
    return from_mapping(SIZES[name], sizes, "model.content")


SIZES: dict[Any, type] = {WHISPER: WhisperSize, CONVOLUTIONAL: ConvEncoderSize}
EncoderSettings = Annotated[WhisperSize | ConvEncoderSize, BeforeValidator(_by_name), Expected("settings by name")]


def encoder(settings: Mapping[str, Any] | WhisperSize | ConvEncoderSize | None) -> Encoder:
    """A recognizer's encoder: `name`, whisper (the default) or convolutional, and its sizes."""
    size = checked(EncoderSettings | None, settings, "model.content")
    return ConvEncoder(size) if isinstance(size, ConvEncoderSize) else WhisperEncoder(size or WhisperSize())


def settings_of(network: Encoder) -> dict[str, Any]:
    """What `encoder` makes one of these sizes from."""
    name = WHISPER if isinstance(network, WhisperEncoder) else CONVOLUTIONAL
    return {"name": name, **vars(network.size)}


class RecognizedContent(nn.Module):
    """Waveforms -> a recognizer's encoding of them, interpolated to the frames of other features.

    Args:
        encoder: of log-mels of the preset `whisper_16k`, 50 steps a second.
        sample_rate: of the waveforms, Hz.
        hop: samples per frame; frame t is taken to be centered on sample (t + 1/2) hop, in training and conversion
            alike, also beside features that center theirs half a hop before (`FeatureSpec.padding` "center").
    """

    def __init__(self, encoder: Encoder, sample_rate: int, hop: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.sample_rate, self.hop = sample_rate, hop

    @property
    def channels(self) -> int:
        """Width D of what the encoder hears in a frame."""
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
            heard = _resampler(self.sample_rate, spec.sample_rate, str(waveform.device))(waveform.float())
            short = spec.n_fft - heard.shape[-1]
            heard = nn.functional.pad(heard, (0, short)) if short > 0 else heard
            log_mel = extractor(spec, str(waveform.device))(heard)
        steps = self.encoder(log_mel).transpose(1, 2)
        return interpolated(steps, frames, RATE * self.hop / self.sample_rate)


@lru_cache(maxsize=8)
def _resampler(rate: int, wanted: int, device: str) -> nn.Module:
    """Made once: its kernel would be a copy to the GPU in every iteration."""
    with torch.inference_mode(False):
        return torchaudio.transforms.Resample(rate, wanted, dtype=torch.float32).to(device)
