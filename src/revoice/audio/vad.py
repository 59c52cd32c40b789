"""Voice activity: webrtcvad's decisions, smoothed as Resemblyzer smooths them."""

import numpy as np

_WINDOW_MS = 30
_AVERAGE = 8  # windows of the moving average
_HANGOVER = 6  # silent windows that stay between voiced ones


def drop_silence(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """(S,) without its long silences; unchanged if no voice is found at all.

    Args:
        samples: float32 at 8, 16, 32 or 48 kHz.
        sample_rate: Hz.
    """
    window = sample_rate * _WINDOW_MS // 1000
    whole = samples[: len(samples) - len(samples) % window]
    keep = _smooth(_decisions(whole, sample_rate, window))
    kept = whole[np.repeat(keep, window)]
    return kept if len(kept) else samples


def _decisions(samples: np.ndarray, sample_rate: int, window: int) -> np.ndarray:
    """webrtcvad in its strictest mode, one bool per window."""
    import webrtcvad

    pcm = np.clip(np.round(samples * 32767), -32768, 32767).astype("<i2").tobytes()
    vad = webrtcvad.Vad(3)
    size = 2 * window
    return np.array([vad.is_speech(pcm[i : i + size], sample_rate) for i in range(0, len(pcm), size)], dtype=bool)


def _smooth(voiced: np.ndarray) -> np.ndarray:
    """Moving average over 8 windows, rounded (half to even), then widened by 3 windows on both sides."""
    if not len(voiced):
        return voiced
    padded = np.concatenate([np.zeros((_AVERAGE - 1) // 2), voiced, np.zeros(_AVERAGE // 2)])
    average = np.convolve(padded, np.ones(_AVERAGE), mode="valid") / _AVERAGE
    active = np.round(average)
    reach = _HANGOVER // 2
    return np.convolve(active, np.ones(_HANGOVER + 1))[reach : reach + len(voiced)] > 0.5
