"""Pitch, envelope and aperiodicity of a voice (WORLD: Morise et al., 2016), each disguised in its own way."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from revoice.audio.anonymization import ANONYMIZERS, Anonymizer, Drawn, Signal, between
from revoice.audio.io import resample
from revoice.audio.pitch import ANALYSIS_RATE, pitch
from revoice.errors import UserError
from revoice.settings import Flag, NotNegative, Seed, Share

FLOOR = 71.0  # Hz: of f0; WORLD sizes its windows by it
_D4C_HZ = 7900.0  # up to which D4C looks whether a frame is voiced
_MOST = 4.6  # natural logarithm of power: 20 dB, by which a band is raised or lowered at most
_POINTS = 8  # of the random curve, equally far on the mel scale
_MIDDLE = 155.0  # Hz: voices with a lower median have long vocal tracts, others short ones
_GRID_MS, _GRID_HZ = 5.0, 15.625  # frames and bins that the published blur counts in: 16 kHz, transforms of 1024
DEFAULT: dict[str, Any] = {  # by measurement, docs/privacy.md: what hides most for the fewest words
    "name": "world", "f0_range": (80.0, 240.0), "envelope_stretch": (1.18, 1.30), "envelope_away": 0.85,
    "envelope_level": 1.0, "envelope_color": 8.0,
}  # fmt: skip
Amount = Annotated[NotNegative, Field(le=100)]
Period = Annotated[NotNegative, Field(ge=1, le=20)]


@ANONYMIZERS.register("world")
class World(Anonymizer):
    """Takes speech apart by WORLD, disguises what is asked for, and puts it together again.

    Most ways are those of Anonymous-VC and VoicePix2Pix (2018 and 2019), whose faults are mended: their noise is
    centered on the median, so that f0 rises by an octave, unvoiced frames become voiced, and aperiodicity doubles
    (`faithful=True` does so, too); their stretch is drawn once for all utterances, and lost before the synthesis.
    `f0_range`, `envelope_away`, `envelope_level` and `envelope_color` are ours.
    Analysis is the cheapest that sounds alike: DIO at a low rate with StoneMask, one frame every 10 ms.

    Args:
        f0_zero: no pitch at all: a whisper by pulses, robotic.
        f0_flat: how much of the melody around the median is taken away, in octaves; 1 leaves a monotone.
        f0_noise: deviation of white noise on f0, as a share of the median; published: 0.1.
        f0_range: Hz; the median moves to a level drawn from here, wherever it was.
        envelope_blur: deviation of a Gaussian over time and frequency, in 5 ms and 15.6 Hz; published: 3.
        envelope_stretch: ratio by which formants move, drawn for each utterance; published: 0.6 to 2.
        envelope_either: by that ratio or by its inverse, as often, so that none stays near 1.
        envelope_away: share of the utterances whose formants rise by that ratio where the median of f0 is below 155 Hz
            and fall by it elsewhere, which costs fewer words than the other way round; the rest goes that way. None:
            `envelope_either` decides.
        envelope_level: share of the utterance's mean spectrum, which tells a voice and a room, that gives way to that
            of speech at large (about that of Byrne et al., 1994: flat up to 500 Hz, 9 dB less for each octave above).
        envelope_color: dB, deviation of a random smooth curve over frequency that each utterance is colored with.
        aperiodicity_noise: deviation of white noise on the aperiodicity, as a share of its median; published: 0.1.
        faithful: noise as published.
        period: ms between frames; published: 5.
        seed: of all draws.
    """

    def __init__(
        self,
        f0_zero: Flag = False,
        f0_flat: Share = 0.0,
        f0_noise: Amount = 0.0,
        f0_range: Drawn | None = None,
        envelope_blur: Amount = 0.0,
        envelope_stretch: Drawn | None = None,
        envelope_either: Flag = False,
        envelope_away: Share | None = None,
        envelope_level: Share = 0.0,
        envelope_color: Annotated[NotNegative, Field(le=40)] = 0.0,
        aperiodicity_noise: Amount = 0.0,
        faithful: Flag = False,
        period: Period = 10.0,
        seed: Seed = 0,
    ) -> None:
        self.f0_zero, self.f0_flat, self.f0_noise, self.f0_range = f0_zero, f0_flat, f0_noise, f0_range
        self.envelope_blur, self.envelope_stretch = envelope_blur, envelope_stretch
        if envelope_either and envelope_away is not None:
            raise UserError(
                f"anonymizer.world: envelope_either=true and envelope_away={envelope_away:g} exclude each other, "
                "expected one at most: type envelope_either=false or envelope_away=null"
            )
        self.envelope_either, self.envelope_away = envelope_either, envelope_away
        self.envelope_level, self.envelope_color = envelope_level, envelope_color
        self.aperiodicity_noise, self.faithful = aperiodicity_noise, faithful
        self.period, self.seed = period, seed
        self._decided: tuple[int, bool] | None = None  # a recording, and whether its voice is a high one

    def change(self, samples: Signal, sample_rate: int, draws: np.random.Generator) -> Signal:
        """(S,) -> (S',) by analysis, disguise and synthesis."""
        import pyworld

        recording = draws.bit_generator.state["state"]["state"]  # equal for all pieces of one
        level = between(draws, self.f0_range) if self.f0_range else None
        ratio = between(draws, self.envelope_stretch) if self.envelope_stretch else 1.0
        if self.envelope_either and draws.random() < 0.5:
            ratio = 1.0 / ratio
        away = self.envelope_away is None or draws.random() < self.envelope_away
        color = draws.normal(0.0, self.envelope_color, _POINTS) if self.envelope_color else None
        f0, envelope, aperiodicity = analyzed(samples, sample_rate, self.period)
        if self.envelope_away is not None and away == self._high(f0, recording):
            ratio = 1.0 / ratio
        f0 = self._pitch(f0, level, draws)
        if ratio != 1.0:
            envelope, aperiodicity = stretched(envelope, ratio), stretched(aperiodicity, ratio)
        if self.envelope_level:
            envelope = envelope * leveled(envelope, sample_rate) ** self.envelope_level
        if color is not None:
            envelope = envelope * colored(color, envelope.shape[1], sample_rate)
        if self.envelope_blur:
            sigma = (
                self.envelope_blur * _GRID_MS / self.period,
                self.envelope_blur * _GRID_HZ * 2 * (envelope.shape[1] - 1) / sample_rate,
            )
            envelope = gaussian_filter(envelope, sigma)
        if self.aperiodicity_noise:
            middle = float(np.median(aperiodicity))
            noise = draws.normal(middle if self.faithful else 0.0, self.aperiodicity_noise * middle, aperiodicity.shape)
            aperiodicity = np.clip(aperiodicity + noise, 0.0, 1.0)
        return pyworld.synthesize(
            f0, np.ascontiguousarray(envelope), np.ascontiguousarray(aperiodicity), sample_rate, self.period
        )

    def _high(self, f0: Signal, recording: int) -> bool:
        """Whether the median of f0 (T,) in Hz, 0 where unvoiced, is that of a short vocal tract.

        The first piece of a long recording that has a pitch decides for all others.
        """
        if self._decided is None or self._decided[0] != recording:
            voiced = f0[f0 > 0]
            if not len(voiced):
                return False
            self._decided = (recording, bool(np.median(voiced) >= _MIDDLE))
        return self._decided[1]

    def _pitch(self, f0: Signal, level: float | None, draws: np.random.Generator) -> Signal:
        """f0 (T,) in Hz, 0 where unvoiced, disguised."""
        voiced = f0 > 0
        if self.f0_zero or not voiced.any():
            return np.zeros_like(f0)
        middle = float(np.median(f0[voiced]))
        octaves = np.log2(np.where(voiced, f0, middle) / middle) * (1.0 - self.f0_flat)
        middle = middle if level is None else level
        moved = np.where(voiced, middle * 2.0**octaves, 0.0)
        if self.f0_noise:
            if self.faithful:
                whole = float(np.median(f0))  # 0 where most frames are unvoiced: no change then
                moved = moved + draws.normal(whole, self.f0_noise * whole, len(f0))
            else:
                moved = np.where(voiced, moved + draws.normal(0.0, self.f0_noise * middle, len(f0)), 0.0)
        return np.where(moved > 0, np.clip(moved, FLOOR / 2, 1000.0), 0.0)


def analyzed(samples: Signal, sample_rate: int, period: float) -> tuple[Signal, Signal, Signal]:
    """f0 (T,) in Hz, power envelope (T, bins) and aperiodicity (T, bins), a frame every `period` ms."""
    import pyworld

    hop = sample_rate * period / 1000.0  # not whole at 22.05 kHz
    times = np.arange(int(len(samples) / hop) + 1) * period / 1000.0
    f0 = pitch(samples, sample_rate, hop, len(times), floor=FLOOR, ceil=600.0, rate=ANALYSIS_RATE).f0.astype(np.float64)
    envelope = pyworld.cheaptrick(samples, f0, times, sample_rate, f0_floor=FLOOR)
    return f0, envelope, _aperiodicity(samples, sample_rate, f0, times, envelope.shape[1])


def _aperiodicity(samples: Signal, sample_rate: int, f0: Signal, times: np.ndarray, bins: int) -> Signal:
    """(T, bins) by D4C, which sums up power up to 7.9 kHz, beyond its memory where a spectrum ends below."""
    import pyworld

    finer = 1
    while sample_rate * finer < 2 * _D4C_HZ:
        finer *= 2  # a power of two, as WORLD's transforms are
    rate = sample_rate * finer
    samples = np.ascontiguousarray(resample(samples, sample_rate, rate))
    return pyworld.d4c(samples, f0, times, rate, fft_size=2 * (bins - 1) * finer)[:, :bins]


def leveled(envelope: Signal, sample_rate: int) -> Signal:
    """Factors (bins,) that bring the mean log spectrum of the loud frames of (T, bins) to that of speech at large."""
    loudness = envelope.sum(axis=1)
    logs = np.log(envelope[loudness >= 1e-3 * loudness.max()] + 1e-12).mean(axis=0)
    hertz = np.linspace(0.0, sample_rate / 2.0, envelope.shape[1])
    apart = -1.5 * np.log1p((hertz / 500.0) ** 2) - gaussian_filter1d(logs, 100.0 / max(hertz[1], 1e-9), mode="nearest")
    heard = (hertz >= 80.0) & (hertz <= 7500.0)
    return np.exp(np.clip(apart - apart[heard].mean(), -_MOST, _MOST))


def colored(points: Signal, bins: int, sample_rate: int) -> Signal:
    """Factors (bins,) on a power spectrum, from gains in dB at points that are equally far apart in mel up to 8 kHz."""
    mel = np.log1p(np.linspace(0.0, sample_rate / 2.0, bins) / 700.0)
    gains = np.interp(mel, np.linspace(0.0, np.log1p(8000.0 / 700.0), len(points)), points)
    return 10.0 ** (gains / 10.0)


def stretched(bins: Signal, ratio: float) -> Signal:
    """Spectra (T, bins) whose features lie at `ratio` times their frequencies; what is beyond the top is the top.

    >>> stretched(np.array([[0.0, 1.0, 2.0, 3.0, 4.0]]), 2.0).tolist()
    [[0.0, 0.5, 1.0, 1.5, 2.0]]
    """
    last = bins.shape[1] - 1
    place = np.minimum(np.arange(last + 1) / ratio, last)
    low = np.minimum(place.astype(int), last - 1)
    share = place - low
    return bins[:, low] * (1.0 - share) + bins[:, low + 1] * share
