"""Whisper's encoder: padding that changes nothing, clips of any length, sizes without memory."""

import pytest
import torch
from torch import Tensor

from revoice.errors import UserError
from revoice.nn.whisper import _OVERLAP, POSITIONS, WhisperEncoder, WhisperSize, sinusoids

SIZE = WhisperSize(mels=5, width=16, heads=2, layers=2)


@pytest.fixture(scope="module")
def encoder() -> WhisperEncoder:
    torch.manual_seed(0)
    return WhisperEncoder(SIZE).eval()


def log_mel(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_a_clip_gives_alone_what_it_gives_in_a_padded_batch(encoder: WhisperEncoder) -> None:
    lengths = torch.tensor([301, 300, 1, 2, 117])
    batch = log_mel(5, 5, 301)
    batch[1, :, 300:], batch[4, :, 117:] = 1e3, torch.nan  # whatever stands there
    found = encoder(batch, lengths)
    assert found.shape == (5, 151, 16)
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(batch[row : row + 1, :, :length])[0]
        assert alone.shape == ((length + 1) // 2, 16)
        torch.testing.assert_close(found[row, : len(alone)], alone, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_without_lengths_all_frames_are_there(encoder: WhisperEncoder) -> None:
    x = log_mel(2, 5, 64)
    torch.testing.assert_close(encoder(x), encoder(x, torch.tensor([64, 64])), atol=1e-6, rtol=1e-6)


@torch.inference_mode()
def test_nothing_at_all_is_finite(encoder: WhisperEncoder) -> None:
    assert encoder(log_mel(2, 5, 10), torch.tensor([0, 10])).isfinite().all()


@torch.inference_mode()
@pytest.mark.parametrize("frames", [2 * POSITIONS + 1, 2 * POSITIONS + 900, 2 * (2 * POSITIONS - _OVERLAP) + 7])
def test_a_long_clip_equals_its_windows_in_their_inner_part(encoder: WhisperEncoder, frames: int) -> None:
    x = log_mel(1, 5, frames)
    found, hop, edge = encoder(x)[0], POSITIONS - _OVERLAP, _OVERLAP // 2
    assert found.shape == ((frames + 1) // 2, 16) and found.isfinite().all()
    starts = list(range(0, len(found) - _OVERLAP, hop))
    for start in starts:
        window = encoder(x[..., 2 * start : 2 * (start + POSITIONS)])[0]
        begin, end = edge if start else 0, len(window) if start == starts[-1] else hop + edge
        assert torch.equal(found[start + begin : start + end], window[begin:end])
    assert starts[-1] + POSITIONS >= len(found)


@torch.inference_mode()
def test_long_clips_are_padded_too(encoder: WhisperEncoder) -> None:
    lengths = torch.tensor([3400, 3001, 3000, 2950, 2901, 50])
    batch = log_mel(6, 5, 3400)
    found = encoder(batch, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(batch[row : row + 1, :, :length])[0]
        torch.testing.assert_close(found[row, : len(alone)], alone, atol=1e-5, rtol=1e-5)


def test_it_is_built_and_run_without_memory() -> None:
    with torch.device("meta"):
        large = WhisperEncoder(WhisperSize(mels=128, width=1280, heads=20, layers=2))
        assert large(torch.zeros(2, 128, 3300)).shape == (2, 1650, 1280)
    assert {value.device.type for value in large.state_dict().values()} == {"meta"}
    assert sum(value.numel() for value in large.blocks.parameters()) == 2 * (12 * 1280**2 + 12 * 1280)


def test_positions_are_sines_then_cosines() -> None:
    table = sinusoids(POSITIONS, 8)
    assert table.shape == (POSITIONS, 8)
    torch.testing.assert_close(table[:, 0], torch.arange(POSITIONS).float().sin())
    torch.testing.assert_close(table[:, 7], (torch.arange(POSITIONS) / 10_000).cos())


@pytest.mark.parametrize("sizes", [{"layers": 0}, {"heads": 0}, {"mels": -1}, {"width": 20, "heads": 3}, {"heads": 5}])
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(UserError, match="expected a w"):
        WhisperSize(**sizes)
