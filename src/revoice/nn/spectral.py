"""How far a waveform is from another in its spectrograms: losses of vocoders and measures of them alike."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from revoice.audio.features import FeatureExtractor

RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))  # n_fft, hop and window in samples, as published
_SMALLEST = 1e-7  # of a magnitude, inside its logarithm
_QUIET = 1e-3  # root mean square of what counts as silence, -60 dB below full scale


def mel_l1(made: Tensor, real: Tensor, extractor: FeatureExtractor) -> Tensor:
    """Mean absolute difference of features, e.g. log-mels: HiFi-GAN's and Vocos' reconstruction loss (there times 45).

    Args:
        made, real: waveforms (B, S) at the sample rate of the features.
        extractor: of the features to compare; on the waveforms' device.

    Returns:
        (B,), in units of the features.
    """
    return (extractor(made) - extractor(real).detach()).abs().mean(dim=(1, 2))


def stft_distance(made: Tensor, real: Tensor, resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS) -> Tensor:
    """Multi-resolution STFT distance (Yamamoto, Song and Kim, arXiv:1910.11480, equations 4 to 6).

    The mean over resolutions of the spectral convergence |M - M'| / |M| (Frobenius norms) and the mean absolute
    difference of natural logarithms, added. |M| counts as that of noise at -60 dB below full scale at least: divided by
    that of a silent clip, a single segment of a batch would outweigh all others a million times.

    Args:
        made, real: waveforms (B, S), S more than half the longest frame.
        resolutions: n_fft, hop and Hann window of each STFT, in samples.

    Returns:
        (B,); 0 for equal magnitudes.
    """
    terms = []
    for n_fft, hop, win in resolutions:
        ours, theirs = (magnitudes(each, n_fft, hop, win) for each in (made, real.detach()))
        norms = [_norm(each) for each in (theirs - ours, theirs)]
        logarithmic = (theirs.log() - ours.log()).abs().mean(dim=(1, 2))
        terms.append(norms[0] / norms[1].clamp(min=_quiet_norm(theirs.shape[2], n_fft, win)) + logarithmic)
    return torch.stack(terms).mean(0)


def _quiet_norm(frames: int, n_fft: int, win: int) -> float:
    """Frobenius norm of the magnitudes of noise as loud as silence may be: by Parseval, of half of all bins."""
    energy = 3 / 8 * win  # of a Hann window
    return _QUIET * math.sqrt(frames * n_fft / 2 * energy)


def _norm(matrices: Tensor) -> Tensor:
    """Frobenius norms (B,) of (B, F, T); where one is 0, so is its gradient."""
    return matrices.square().sum(dim=(1, 2)).clamp(min=torch.finfo(matrices.dtype).tiny).sqrt()


def magnitudes(waveform: Tensor, n_fft: int, hop: int, win: int) -> Tensor:
    """STFT magnitudes (B, n_fft / 2 + 1, S // hop + 1) of (B, S), at least 1e-7; in float32 whatever autocast says."""
    with torch.autocast(waveform.device.type, enabled=False):
        exact = waveform if waveform.dtype == torch.float64 else waveform.float()
        window = torch.hann_window(win, dtype=exact.dtype, device=exact.device)
        spectrum = torch.stft(exact, n_fft, hop, win, window, return_complex=True)
        # the gradient of a square root at 0 is infinite: silent bins are constants
        return (spectrum.real.square() + spectrum.imag.square()).clamp(min=_SMALLEST**2).sqrt()
