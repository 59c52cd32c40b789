"""How something is said: prosody in numbers, and a classifier of styles that hears true recordings alone.

Nothing here depends on how long a clip is, since a conversion may keep the durations of its source: every contour is
brought to the same number of points. Nor on how loud it is as a whole, which conversions take from their source.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from revoice.audio.io import Audio, resample
from revoice.audio.pitch import ANALYSIS_RATE, pitch

RATE, HOP, WINDOW = 16000, 160, 512
POINTS = 100  # of a contour in time
BANDS = 8  # of the long-term spectrum
FLOOR = 1e-7  # of a power, the loudest frame's is 1
QUIET_DB = 35.0  # below the loudest frame: no speech
Numbers = NDArray[np.float64]


def prosody(clip: Audio) -> Numbers:
    """13 + 8 numbers of a clip: of its pitch, its energy and its spectrum.

    Pitch: median, deviation, distance of the 10th and 90th percentile, mean step and slope of log-f0, and the voiced
    share. Energy: deviation, percentile distance, mean step and slope in dB, and the mean under the loudest frame.
    Spectrum: mean step of the spectrum, tilt, and its mean in `BANDS` bands without their mean.
    """
    samples = resample(clip.samples, clip.sample_rate, RATE)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, WINDOW // 2), WINDOW)[::HOP]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)))  # (T, 257)
    power = power / power.sum(1).max().clip(min=1e-12)
    loud = 10 * np.log10(power.sum(1) + FLOOR)
    speech = loud > loud.max() - QUIET_DB
    first, last = np.flatnonzero(speech)[[0, -1]]
    f0 = pitch(samples, RATE, HOP, len(frames), rate=ANALYSIS_RATE).f0[first : last + 1]
    bands = _bands(power[speech])  # (T', BANDS)
    steps = _timed(bands)
    tilt = np.polyfit(np.arange(BANDS), bands.mean(0), 1)[0]
    spectrum = [np.abs(np.diff(steps, axis=0)).mean(), tilt]
    return np.concatenate([_of_pitch(f0), _of_energy(loud[first : last + 1]), spectrum, _leveled(bands)])


def contour(clip: Audio) -> Numbers:
    """log-f0 of a clip at `POINTS` points of its length, interpolated where unvoiced; nan if nothing is voiced."""
    samples = resample(clip.samples, clip.sample_rate, RATE)
    return _filled(pitch(samples, RATE, HOP, len(samples) // HOP + 1, rate=ANALYSIS_RATE).f0)


class StyleListener:
    """Tells the style of a clip by `prosody` relative to the mean of its speaker's true recordings.

    Args:
        clips: (N, D) of true recordings.  styles, speakers: of each.
    """

    def __init__(self, clips: Numbers, styles: Sequence[str], speakers: Sequence[str]) -> None:
        who = np.array(speakers)
        self.means = {name: clips[who == name].mean(0) for name in np.unique(who)}
        self.model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=5000))
        self.model.fit(self._relative(clips, speakers), styles)

    def tell(self, clips: Numbers, speakers: Sequence[str]) -> list[str]:
        """The style of each clip (N, D) of known speakers."""
        return list(self.model.predict(self._relative(clips, speakers)))

    def certainty(self, clips: Numbers, speakers: Sequence[str], style: str) -> Numbers:
        """How certain it is that each clip is of a style, 0 to 1, (N,)."""
        return self.model.predict_proba(self._relative(clips, speakers))[:, list(self.model.classes_).index(style)]

    def apart(self, a: Numbers, b: Numbers) -> Numbers:
        """How far clips (N, D) are from others of the same speakers, in deviations of the training clips, (N,)."""
        scale = self.model.named_steps["standardscaler"].scale_
        return np.sqrt(np.square((a - b) / scale).mean(1))

    def _relative(self, clips: Numbers, speakers: Sequence[str]) -> Numbers:
        return clips - np.stack([self.means[name] for name in speakers])


def cents_apart(a: Numbers, b: Numbers) -> float:
    """Root mean square difference in cents of two `contour`s; nan where nothing is voiced."""
    return float(1200 / np.log(2) * np.sqrt(np.square(a - b).mean()))


def _of_pitch(f0: NDArray[np.float32]) -> Numbers:
    whole = _filled(f0)
    if np.isnan(whole).any():
        return np.zeros(6)
    low, high = np.percentile(whole, [10, 90])
    steps = np.abs(np.diff(whole)).mean()
    return np.array([np.median(whole), whole.std(), high - low, steps, _slope(whole), (f0 > 0).mean()])


def _of_energy(loud: Numbers) -> Numbers:
    whole = _timed(loud[:, None])[:, 0]
    low, high = np.percentile(whole, [10, 90])
    return np.array([whole.std(), high - low, np.abs(np.diff(whole)).mean(), _slope(whole), whole.max() - whole.mean()])


def _filled(f0: NDArray[np.float32]) -> Numbers:
    """log-f0 at `POINTS` points."""
    voiced = np.flatnonzero(f0 > 0)
    if not len(voiced):
        return np.full(POINTS, np.nan)
    return np.interp(np.linspace(0, len(f0) - 1, POINTS), voiced, np.log(f0[voiced].astype(np.float64)))


def _timed(values: Numbers) -> Numbers:
    """(T, C) at `POINTS` points."""
    at = np.linspace(0, len(values) - 1, POINTS)
    return np.stack([np.interp(at, np.arange(len(values)), column) for column in values.T], axis=1)


def _slope(values: Numbers) -> float:
    return float(np.polyfit(np.linspace(-0.5, 0.5, len(values)), values, 1)[0])


def _bands(power: Numbers) -> Numbers:
    """dB (T, BANDS) in bands of equal width in log-frequency from 100 Hz on."""
    edges = np.round(np.geomspace(100, RATE / 2, BANDS + 1) * WINDOW / RATE).astype(int)
    return np.stack([10 * np.log10(power[:, a:b].mean(1) + FLOOR) for a, b in pairwise(edges)], axis=1)


def _leveled(bands: Numbers) -> Numbers:
    means = bands.mean(0)
    return means - means.mean()
