"""The transform pair of a spec."""

import librosa
import numpy as np
import pytest
import torch

from revoice.audio.presets import load_preset, preset_names
from revoice.audio.stft import Stft


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("frames", [3, 17, 40])
def test_the_inverse_gives_the_waveform_back(name, frames):
    spec = load_preset(name)
    stft = Stft(spec)
    wave = torch.randn(2, max(spec.samples(frames), spec.hop))
    again = stft.inverse(stft(wave))
    assert again.shape == (2, spec.samples(spec.frames(wave.shape[1])))
    torch.testing.assert_close(again, wave[:, : again.shape[1]], atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", ["adain_24k", "mel_22k_tacotron", "zerospeech_16k"])
def test_it_is_the_transform_of_librosa(name):
    spec = load_preset(name)
    wave = np.random.default_rng(0).normal(0, 0.1, 20 * spec.hop).astype(np.float32)
    sizes = {"hop_length": spec.hop, "win_length": spec.win}
    theirs = librosa.stft(wave, n_fft=spec.n_fft, pad_mode=spec.pad_mode, **sizes)
    ours = Stft(spec)(torch.from_numpy(wave)[None])[0].T.numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    inverse = Stft(spec).inverse(torch.from_numpy(theirs).T[None])[0].numpy()
    np.testing.assert_allclose(inverse, librosa.istft(theirs, n_fft=spec.n_fft, **sizes), atol=1e-5)


@pytest.mark.parametrize("hop", [100, 128, 200, 256])
def test_any_hop_works(hop):
    from dataclasses import replace

    spec = replace(load_preset("mel_22k"), n_fft=512, win=500, hop=hop)
    stft, wave = Stft(spec), torch.randn(1, 20 * hop)
    inner = slice(hop, -hop)  # with a large hop the window's zero leaves the outermost samples unseen
    torch.testing.assert_close(stft.inverse(stft(wave))[:, inner], wave[:, inner], atol=1e-3, rtol=0)
