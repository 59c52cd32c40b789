import torch

from revoice.nn.content import RecognizedContent, interpolated
from revoice.nn.whisper import WhisperSize


def test_content_has_the_frames_of_the_features() -> None:
    torch.manual_seed(0)
    network = RecognizedContent(WhisperSize(width=8, heads=2, layers=1), 22050, 256).eval()
    waveform = torch.randn(1, 22050)
    assert network(waveform).shape == (1, 8, 86)
    assert network(waveform, 90).shape == (1, 8, 90)
    assert network(waveform[:, :10], 1).shape == (1, 8, 1)


def test_a_step_lies_where_its_sound_is() -> None:
    ramp = torch.arange(100.0)[None, None]  # step n at n / 50 s
    frames = interpolated(ramp, 120, 50 * 256 / 22050)
    seconds = (torch.arange(120) + 0.5) * 256 / 22050
    torch.testing.assert_close(frames[0, 0], 50 * seconds)
