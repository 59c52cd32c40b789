import torch

from revoice.nn.draws import Draws
from revoice.nn.microphone import recorded


def test_some_stay_as_they_are_and_the_others_change_alike_on_any_number_of_processes() -> None:
    waveform = torch.randn(16, 8000, generator=torch.Generator().manual_seed(0)) * 0.1
    whole = recorded(waveform, 16000, Draws(0, 3, 0, 16, 16))
    same = (whole == waveform).all(1)
    assert 2 < int(same.sum()) < 14 and bool(torch.isfinite(whole).all())
    half = recorded(waveform[8:], 16000, Draws(0, 3, 8, 8, 16))
    torch.testing.assert_close(half, whole[8:])
    assert not torch.equal(recorded(waveform, 16000, Draws(0, 4, 0, 16, 16)), whole)


def test_silence_stays_finite() -> None:
    assert bool(torch.isfinite(recorded(torch.zeros(4, 1000), 16000, Draws(0, 0, 0, 4, 4))).all())
