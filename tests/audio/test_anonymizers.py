"""Anonymizers: what each way changes and what it leaves, repeatable, of any length, stable."""

import numpy as np
import pytest

from revoice.audio.anonymization import ANONYMIZERS
from revoice.audio.anonymizers.mcadams import from_poles, poles, predictors, turned
from revoice.audio.anonymizers.world import analyzed
from revoice.audio.io import fingerprint
from revoice.audio.pitch import pitch
from revoice.errors import UserError

RATE = 16000
RANDOM = {
    "world": {"f0_noise": 0.1, "f0_range": [90, 200], "envelope_stretch": [0.8, 1.25], "aperiodicity_noise": 0.1},
    "mcadams": {"coefficient": [0.6, 0.9]},
    "noise": {"snr": 3.0},
    "cepstrum": {"f0_range": [90, 200], "envelope_stretch": [0.8, 1.25], "flatten": 0.5, "iterations": 4},
}


def buzz(f0: float = 140.0, seconds: float = 1.5, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Pulses with a wavering pitch through two formants (700 and 1800 Hz), and a little noise."""
    time = np.arange(int(seconds * rate)) / rate
    phase = np.cumsum(f0 * (1 + 0.1 * np.sin(2 * np.pi * 2 * time))) / rate
    pulses = np.diff(np.floor(phase), prepend=0.0) + 0.002 * np.random.default_rng(seed).standard_normal(len(time))
    made = np.zeros(len(time))
    for formant in (700.0, 1800.0):
        response = np.exp(-time[:800] * 400.0) * np.sin(2 * np.pi * formant * time[:800])
        made += np.convolve(pulses, response)[: len(time)]
    return (0.3 * made / np.abs(made).max()).astype(np.float32)


def median_f0(samples: np.ndarray) -> float:
    f0 = pitch(samples, RATE, 160, len(samples) // 160).f0
    return float(np.median(f0[f0 > 0]))


def spread(samples: np.ndarray) -> float:
    """Deviation of log2 f0 in octaves."""
    f0 = pitch(samples, RATE, 160, len(samples) // 160).f0[10:-10]
    return float(np.log2(f0[f0 > 0]).std())


def test_every_anonymizer_is_tested() -> None:
    assert set(RANDOM) == set(ANONYMIZERS.names())


@pytest.mark.parametrize("name", RANDOM)
def test_one_recording_becomes_one_thing_and_two_differ(name: str) -> None:
    clip, other = buzz(), buzz(seed=1)
    first = ANONYMIZERS.build(name, RANDOM[name])(clip, RATE)
    again = ANONYMIZERS.build(name, RANDOM[name])
    again(other, RATE)  # nothing of it is left behind
    assert np.array_equal(first, again(clip, RATE)) and first.dtype == np.float32
    assert not np.array_equal(first, ANONYMIZERS.build(name, {**RANDOM[name], "seed": 1})(clip, RATE))
    keyed = [again(clip, RATE, key) for key in ("a", "a", "b")]
    assert np.array_equal(keyed[0], keyed[1]) and not np.array_equal(keyed[0], keyed[2])


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 17, 159, 161, 1601, 8000])
def test_length_stays_and_samples_are_finite(name: str, size: int) -> None:
    anonymizer = ANONYMIZERS.build(name, RANDOM[name])
    for clip in (buzz()[4000 : 4000 + size], np.zeros(size, np.float32), np.full(size, 0.5, np.float32)):
        made = anonymizer(clip, RATE)
        assert made.shape == (size,) and np.isfinite(made).all()


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
@pytest.mark.parametrize("name", RANDOM)
def test_every_rate(name: str, rate: int) -> None:
    made = ANONYMIZERS.build(name, RANDOM[name])(buzz(rate=rate, seconds=0.4), rate)
    assert made.shape == (int(0.4 * rate),) and 0.001 < np.abs(made).max() < 3


@pytest.mark.parametrize(("rate", "period"), [(22050, 10.0), (44100, 5.0)])
def test_pitch_stays_in_time_to_the_end(rate: int, period: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame is 220.5 samples."""
    for part in ("cheaptrick", "d4c"):  # not looked at here, and slow
        monkeypatch.setattr(f"pyworld.{part}", lambda samples, f0, *others, **more: np.zeros((len(f0), 5)))
    truth = 150 + 30 * np.sin(2 * np.pi * np.arange(30 * rate) / rate)
    phase = 2 * np.pi * np.cumsum(truth) / rate
    f0 = analyzed(0.1 * sum(np.sin(k * phase) / k for k in range(1, 5)), rate, period)[0]
    frames = np.arange(len(f0) * 9 // 10, len(f0) - 20)
    assert np.abs(f0[frames] - truth[(frames * 220.5).astype(int)]).max() < 2


@pytest.mark.parametrize("rate", [8000, 11025, 15000])
def test_low_rates_are_analyzed_alike_every_time(rate: int) -> None:
    """D4C by itself reads beyond the spectrum below 15.8 kHz."""
    clip, found = buzz(rate=rate, seconds=0.5).astype(np.float64), []
    for fill in (0.0, 1e3, 1e9):
        np.full(200_000, fill)  # what the memory held before
        found.append(analyzed(clip, rate, 10.0))
    assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
    _, envelope, aperiodicity = found[0]
    assert envelope.shape == aperiodicity.shape and np.median(aperiodicity[:, :30]) < 0.1


def test_a_copy_in_16_bits_draws_alike() -> None:
    clip = buzz()
    stored = np.round(clip * 32767).astype("<i2") / 32767
    assert fingerprint(clip) == fingerprint(stored) != fingerprint(clip[1:])


def test_no_pitch_is_left_of_f0_zero() -> None:
    clip = buzz()
    made = ANONYMIZERS.build("world", {"f0_zero": True})(clip, RATE)
    voiced = [(analyzed(x.astype(np.float64), RATE, 10.0)[0] > 0).mean() for x in (clip, made)]
    assert voiced[0] > 0.8 and voiced[1] < 0.2


def test_a_flat_melody_keeps_its_median_and_half_of_it_is_half() -> None:
    clip = buzz()
    spreads = [spread(ANONYMIZERS.build("world", {"f0_flat": share})(clip, RATE)) for share in (0.0, 0.5, 1.0)]
    assert spreads[0] == pytest.approx(spread(clip), rel=0.15)
    assert spreads[1] == pytest.approx(spreads[0] / 2, rel=0.15) and spreads[2] < 0.05 * spreads[0]
    flat = ANONYMIZERS.build("world", {"f0_flat": 1.0})(clip, RATE)
    assert median_f0(flat) == pytest.approx(median_f0(clip), rel=0.02)


def test_the_median_moves_into_the_range_from_wherever_it_was() -> None:
    anonymizer = ANONYMIZERS.build("world", {"f0_range": [100, 120]})
    levels = [median_f0(anonymizer(buzz(f0), RATE)) for f0 in (90, 140, 230)]
    assert all(98 < level < 122 for level in levels) and len(set(levels)) == 3


def test_noise_on_f0_is_centered_and_as_published_rises_by_an_octave() -> None:
    clip = buzz()
    noisy, faithful = (
        ANONYMIZERS.build("world", {"f0_noise": 0.05, "faithful": flag})(clip, RATE) for flag in (False, True)
    )
    assert median_f0(noisy) == pytest.approx(median_f0(clip), rel=0.05)
    assert median_f0(faithful) == pytest.approx(2 * median_f0(clip), rel=0.1)


def test_formants_move_by_the_ratio() -> None:
    clip = buzz()
    for ratio in (0.8, 1.25):
        made = ANONYMIZERS.build("world", {"envelope_stretch": ratio})(clip, RATE)
        assert first_formant(made) == pytest.approx(ratio * first_formant(clip), rel=0.08)


def test_away_raises_the_formants_of_low_voices_and_lowers_those_of_high_ones() -> None:
    def moved(f0: float, share: float) -> float:
        clip = buzz(f0)
        made = ANONYMIZERS.build("world", {"envelope_stretch": 1.2, "envelope_away": share})(clip, RATE)
        return first_formant(made) / first_formant(clip)

    for f0, ratio in ((110.0, 1.2), (140.0, 1.2), (180.0, 1 / 1.2), (220.0, 1 / 1.2)):
        assert moved(f0, 1.0) == pytest.approx(ratio, rel=0.08)
        assert moved(f0, 0.0) == pytest.approx(1 / ratio, rel=0.08)


def test_pieces_of_a_recording_go_the_way_of_the_first_one() -> None:
    low, high = buzz(140.0), buzz(170.0, seed=1)
    by = ANONYMIZERS.build("world", {"envelope_stretch": 1.2, "envelope_away": 1.0})
    ways = [first_formant(by(piece, RATE, "a")) / first_formant(piece) for piece in (low, high)]
    assert ways == pytest.approx([1.2, 1.2], rel=0.08)
    by(np.zeros(RATE, np.float32), RATE, "b")  # a piece without a voice decides nothing
    ways = [first_formant(by(piece, RATE, "b")) / first_formant(piece) for piece in (high, low)]
    assert ways == pytest.approx([1 / 1.2, 1 / 1.2], rel=0.08)


def first_formant(samples: np.ndarray) -> float:
    _, envelope, _ = analyzed(samples.astype(np.float64), RATE, 10.0)
    mean = envelope[20:-20].mean(0)
    low, high = 30, 75  # 470 to 1170 Hz
    return (low + int(mean[low:high].argmax())) * RATE / 2 / (len(mean) - 1)


def test_blur_and_aperiodicity_change_what_they_say() -> None:
    clip = buzz()
    plain = ANONYMIZERS.build("world", {})(clip, RATE)
    for settings in ({"envelope_blur": 12.0}, {"aperiodicity_noise": 3.0}):
        made = ANONYMIZERS.build("world", settings)(clip, RATE)
        assert np.abs(made - plain).max() > 0.01
        assert median_f0(made) == pytest.approx(median_f0(clip), rel=0.03)
    for settings in ({"envelope_color": 6.0}, {"envelope_stretch": 1.2, "envelope_either": True}):
        made = ANONYMIZERS.build("world", settings)(clip, RATE)
        assert np.abs(made - plain).max() > 0.01
    sharp, blurred = (
        analyzed(x.astype(np.float64), RATE, 10.0)[1][20:-20].mean(0)
        for x in (plain, ANONYMIZERS.build("world", {"envelope_blur": 12.0})(clip, RATE))
    )
    assert blurred[40:130].max() / blurred[40:130].min() < 0.7 * sharp[40:130].max() / sharp[40:130].min()


def test_a_coefficient_of_one_changes_nothing_and_another_moves_poles_alone() -> None:
    clip = buzz()
    same = ANONYMIZERS.build("mcadams", {"coefficient": 1.0})(clip, RATE)
    assert np.abs(same - clip).max() < 1e-5
    made = ANONYMIZERS.build("mcadams", {"coefficient": 0.8})(clip, RATE)
    assert median_f0(made) == pytest.approx(median_f0(clip), rel=0.02)
    assert float(np.mean(made**2)) == pytest.approx(float(np.mean(clip**2)), rel=0.5)
    angle = 2 * np.pi * first_formant(clip) / RATE
    assert first_formant(made) == pytest.approx(angle**0.8 * RATE / 2 / np.pi, rel=0.12)


def test_turned_poles_stay_stable_paired_and_as_many() -> None:
    noise = np.random.default_rng(0).standard_normal((50, 320)).cumsum(axis=1)
    whitening = predictors(noise, 20)
    roots = poles(whitening)
    assert np.abs(from_poles(roots) - whitening).max() < 1e-6
    for power in (0.3, 0.8, 1.4):
        moved = turned(roots, power, RATE)
        assert np.abs(moved).max() < 1.0 and np.allclose(np.abs(moved), np.abs(roots))
        assert ((moved.imag == 0) == (roots.imag == 0)).all()
        assert np.allclose(np.sort_complex(moved), np.sort_complex(moved.conj()))


def test_noise_lies_as_far_below_as_it_says() -> None:
    clip = buzz()
    for snr in (-10.0, 0.0, 20.0):
        made = ANONYMIZERS.build("noise", {"snr": snr})(clip, RATE)
        ratio = np.mean(clip**2) / np.mean((made - clip) ** 2)
        assert 10 * np.log10(ratio) == pytest.approx(snr, abs=0.2)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("world", {"f0_range": [200, 100]}, "anonymizer.world.f0_range"),
        ("world", {"f0_flat": 2}, "anonymizer.world.f0_flat=2"),
        ("world", {"f0_flatt": 1}, "did you mean 'f0_flat'"),
        ("world", {"envelope_either": True, "envelope_away": 0.5}, "envelope_away=0.5 exclude each other"),
        ("mcadams", {"coefficient": 0}, "anonymizer.mcadams.coefficient"),
        ("mcadam", {}, "did you mean 'mcadams'"),
    ],
)
def test_wrong_settings_are_told_in_a_line(name: str, settings: dict, words: str) -> None:
    with pytest.raises(UserError) as found:
        ANONYMIZERS.build(name, settings)
    assert words in str(found.value) and "\n" not in str(found.value)


def test_cepstrum_takes_the_mean_spectrum_away() -> None:
    clip = buzz()

    def tilt(samples: np.ndarray) -> float:
        """How unequal the bands of 1 kHz are, dB."""
        power = np.abs(np.fft.rfft(samples[:RATE])) ** 2
        return float((10 * np.log10(power[:8000].reshape(8, -1).mean(1))).std())

    whole, flat = (ANONYMIZERS.build("cepstrum", {"flatten": share})(clip, RATE) for share in (0.0, 1.0))
    assert tilt(flat) < 0.6 * tilt(whole)
