"""Recordings of any length: what the model hears of them, and levels of what comes out, against the right values."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import revoice
from revoice.audio.features import extract
from revoice.audio.io import Audio, AudioError, read_audio, resample, write_audio
from revoice.audio.loudness import follow_level
from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded
from revoice.conversion.chunks import CHUNK, CONTEXT, REACH, Recording, crossfade, noise_like
from revoice.conversion.converter import Converter
from revoice.models.base import MODELS
from tests.conftest import compose_config

RATE = 16000


def noise(seconds: float, db: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * 10 ** (db / 20)
    return samples.astype(np.float32)


def level(samples: np.ndarray) -> float:
    return 20 * float(np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64))) + 1e-9))


@pytest.fixture(scope="module")
def speech(shared: Path) -> Callable[[float, float], np.ndarray]:
    """Real speech of many voices, from one second to another."""
    files = sorted((shared / "data" / "librispeech_mini").rglob("*.flac"))
    clips, total = [], 0
    for file in files:
        clips.append(soundfile.read(file, dtype="float32")[0])
        total += len(clips[-1])
        if total > 120 * RATE:
            break
    whole = np.concatenate(clips)
    return lambda first, last: whole[int(first * RATE) : int(last * RATE)]


@pytest.fixture(scope="module")
def target(shared: Path) -> Path:
    return min((shared / "data" / "vctk_mini" / "wav22").rglob("*.wav"))


@pytest.fixture(scope="module")
def random_weights(target: Path, tmp_path_factory: pytest.TempPathFactory) -> Converter:
    """A small AdaIN-VC that has learned nothing: its levels depend on nothing but what it normalizes."""
    config = compose_config("train", "model=adain_vc_small", folder=tmp_path_factory.mktemp("unused"))
    spec, settings = load_preset("mel_22k"), dict(config["model"])
    arguments = {**settings, "n_features": spec.channels}
    torch.manual_seed(0)
    model = MODELS.build(arguments.pop("name"), arguments).eval()
    known = extract(read_audio(target, spec.sample_rate).samples, spec)
    model.set_statistics(known.mean(1), known.std(1))
    about = Description(model="adain_vc", arguments=arguments, features=spec.to_dict(), trim_db=30.0)
    return Converter(Loaded(model, spec, about, None, ""))


def differences(converter: Converter, samples: np.ndarray, target: Path, at: list[float]) -> np.ndarray:
    """How much louder 3 s are than in the source, in dB, from each of some seconds on."""
    said = converter.convert(Audio(samples, RATE), target)
    source = resample(samples, RATE, said.sample_rate)
    assert len(said.samples) == len(source)
    parts = [slice(int(a * said.sample_rate), int((a + 3) * said.sample_rate)) for a in at]
    return np.array([level(said.samples[part]) - level(source[part]) for part in parts])


def with_pause(speech: Callable[[float, float], np.ndarray]) -> np.ndarray:
    """25 s of speech, 30 s of pause, 18 s of speech."""
    return np.concatenate([speech(0, 25), np.zeros(30 * RATE, np.float32), speech(25, 43)]) + noise(73, -75)


def test_a_long_pause_in_a_long_recording(random_weights: Converter, target: Path, speech: Callable) -> None:
    at = [*range(0, 24, 3), 30, 45, *range(55, 72, 3)]
    assert np.abs(differences(random_weights, with_pause(speech), target, at)).max() < 2.0


@pytest.mark.slow
def test_a_long_pause_and_the_converter_that_ships(target: Path, speech: Callable) -> None:
    at = [*range(0, 24, 3), 30, 45, *range(55, 72, 3)]
    assert np.abs(differences(revoice.load(), with_pause(speech), target, at)).max() < 2.0


def test_a_short_clip_that_is_mostly_pause(random_weights: Converter, target: Path, speech: Callable) -> None:
    clip = np.concatenate([speech(0, 4), np.zeros(16 * RATE, np.float32), speech(60, 64)]) + noise(24, -75)
    assert np.abs(differences(random_weights, clip, target, [0.5, 8, 12, 20.5])).max() < 2.0
    before = np.concatenate([noise(14, -60), speech(100, 104)])
    assert np.abs(differences(random_weights, before, target, [2, 8, 14.5])).max() < 2.0


def test_a_target_that_is_mostly_pause_is_heard_without_it(random_weights: Converter, speech: Callable) -> None:
    said = speech(0, 4)
    holed = np.concatenate([said, noise(20, -75), said])
    (clip,) = random_weights.references([Audio(holed, RATE)])
    frames = clip.features.shape[-1] / random_weights.spec.frame_rate
    assert 7.0 < frames < 9.5
    (whole,) = random_weights.references([Audio(speech(0, 8), RATE)])
    assert whole.features.shape[-1] / random_weights.spec.frame_rate == pytest.approx(8, abs=0.3)


@pytest.mark.parametrize("rate", [16000, 22050])
def test_what_says_the_same_gives_the_recording_again(rate: int, speech: Callable) -> None:
    """Chunks, context, cross-fades and pauses are in place: an echo of what is heard is the source itself."""
    source = np.concatenate([speech(0, 50), np.zeros(5 * RATE, np.float32), speech(50, 70), np.zeros(2 * RATE)])
    recording = Recording(Audio(source.astype(np.float32), RATE))
    assert len(recording.cuts) > 3 and len(recording.kept) >= 2
    echo = (resample(heard.samples, RATE, rate) for heard in recording.chunks())
    made = np.concatenate([*recording.joined(echo, rate)])
    expected = resample(source.astype(np.float32), RATE, rate)
    assert len(made) == len(expected)
    wrong = np.abs(made - expected)
    assert wrong.max() < (0.02 if rate == RATE else 0.05) and np.sqrt((wrong**2).mean()) < 2e-3


def test_joins_of_unlike_phases_lose_no_power() -> None:
    """Speech without a pause, and a vocoder that begins every chunk with phases of its own."""
    recording = Recording(Audio(noise(95, -20), RATE))
    said = (noise(len(heard.samples) / RATE, -20, seed=k + 1) for k, heard in enumerate(recording.chunks()))
    made = np.concatenate([*recording.joined(said, RATE)])
    assert len(made) == 95 * RATE and len(recording.cuts) == 6
    for cut in recording.cuts[1:-1]:
        assert abs(level(made[cut - RATE // 50 : cut + RATE // 50]) + 20) < 1.0  # a plain fade: -1.8
        assert abs(level(made[cut - RATE // 6 : cut + RATE // 6]) + 20) < 0.5


def test_joins_of_a_real_conversion(random_weights: Converter, target: Path, speech: Callable) -> None:
    """0.3 s around every join against the places beside them, where -2 to -3 dB were seen."""
    source = speech(0, 70)
    said = random_weights.convert(Audio(source, RATE), target)
    expected, rate = resample(source, RATE, said.sample_rate), said.sample_rate
    cuts = Recording(Audio(source, RATE)).cuts[1:-1]
    around, beside = [], []
    for cut in cuts:
        for shift in (-1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2):
            middle = round((cut / RATE + shift) * rate)
            part = slice(middle - round(0.15 * rate), middle + round(0.15 * rate))
            (beside if shift else around).append(level(said.samples[part]) - level(expected[part]))
    assert len(around) == 3 and np.mean(around) > np.mean(beside) - 2 * np.std(beside) / len(around) ** 0.5


def test_a_crossfade_keeps_power_whatever_the_phases() -> None:
    one, other = noise(1, -20, 1), noise(1, -20, 2)
    middle = slice(3 * RATE // 8, 5 * RATE // 8)
    for after in (other, one, (one + other) / np.sqrt(2), 0.1 * other):
        wanted = 10 * np.log10((np.mean(one[middle] ** 2) + np.mean(after[middle] ** 2)) / 2)
        assert level(crossfade(one, after)[middle]) == pytest.approx(wanted, abs=0.3)
    assert np.isfinite(crossfade(one, -one)).all() and np.isfinite(crossfade(0 * one, 0 * one)).all()


def test_a_pause_is_filled_with_noise_of_its_level_and_nothing_said_in_it() -> None:
    loud, soft = noise(20, -20), noise(20, -70, 1)
    recording = Recording(Audio(np.concatenate([loud, soft, loud]), RATE))
    made = np.concatenate([*recording.joined((heard.samples for heard in recording.chunks()), RATE)])
    pause = made[21 * RATE : 39 * RATE]
    assert level(pause) == pytest.approx(-70, abs=0.5)
    assert abs(np.corrcoef(pause, soft[RATE : 19 * RATE])[0, 1]) < 0.02


def test_files_and_audio_are_treated_alike(random_weights: Converter, target: Path, tmp_path: Path) -> None:
    said = np.tile(read_audio(target, RATE).samples, 20)[: 40 * RATE]
    write_audio(tmp_path / "long.wav", said, RATE)
    from_file = random_weights.convert(tmp_path / "long.wav", target).samples
    np.testing.assert_array_equal(from_file, random_weights.convert(read_audio(tmp_path / "long.wav"), target).samples)
    for seconds in (2, 40):
        write_audio(tmp_path / "silent.wav", np.zeros(seconds * RATE), RATE)
        for silent in (tmp_path / "silent.wav", read_audio(tmp_path / "silent.wav")):
            with pytest.raises(AudioError, match="is silent, expected speech"):
                random_weights.convert(silent, target)
    for wrong in (np.nan, np.inf):
        broken = said.copy()
        broken[5] = wrong
        with pytest.raises(AudioError, match="not finite"):
            random_weights.convert(Audio(broken, RATE), target)


def test_a_chunk_is_the_most_that_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_audio(tmp_path / "long.wav", np.concatenate([noise(60, -20), noise(60, -75), noise(60, -20)]), RATE)
    recording, read = Recording(tmp_path / "long.wav"), []
    part = recording.part
    monkeypatch.setattr(recording, "part", lambda a, b: read.append(b - a) or part(a, b))
    said = (heard.samples for heard in recording.chunks())
    assert sum(len(block) for block in recording.joined(said, RATE)) == 180 * RATE
    assert max(read) <= (CHUNK + 2 * REACH + 2 * CONTEXT) * RATE


def test_a_level_is_followed_from_loud_to_soft_and_back() -> None:
    """By what says everything equally loud: the gain must reach as far as the reference does."""
    stretches = [(5, -20), (1, -80), (6, -46), (0.5, -80), (5, -22), (0.3, -80), (6, -42), (2, -80), (4, -20)]
    reference = np.concatenate([noise(seconds, db, seed) for seed, (seconds, db) in enumerate(stretches)])
    flat = np.concatenate([noise(seconds, max(db, -60) if db < -50 else -25, 20 + seed)
                           for seed, (seconds, db) in enumerate(stretches)])  # fmt: skip
    made = follow_level(flat, reference, RATE)
    begin = 0.0
    for seconds, db in stretches:
        part = slice(int((begin + 0.25) * RATE), int((begin + seconds - 0.25) * RATE))
        begin += seconds
        if db > -50:
            assert level(made[part]) == pytest.approx(db, abs=1.0)


def loud_and_soft(speech: Callable[[float, float], np.ndarray]) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """8 s of speech with an offset, then others 20 dB softer, and so on, with pauses of 0.3 to 2 s; where each lies."""
    parts, places, at = [], [], 0.0
    for number, pause in enumerate((0.3, 2.0, 0.6, 1.3, 0.3, 1.7, 0.9, 0.5)):
        clip = speech(8 * number, 8 * number + 8)
        parts += [0.1 * clip if number % 2 else clip + 0.01, np.zeros(round(pause * RATE), np.float32)]
        places.append((at, at + 8))
        at += 8 + pause
    whole = np.concatenate(parts)
    return whole + noise(len(whole) / RATE, -80), places


def test_loud_and_soft_speech_keep_their_levels(random_weights: Converter, target: Path, speech: Callable) -> None:
    source, places = loud_and_soft(speech)
    at = [first + shift for first, _ in places for shift in (0.25, 2.5, 4.75)]
    assert np.abs(differences(random_weights, source, target, at)).max() < 2.0


def with_other_phases(samples: np.ndarray, seed: int) -> np.ndarray:
    """What a vocoder could make of a spectrogram: the same magnitudes, other waves, and no offset."""
    window, draw = torch.hann_window(512), torch.Generator().manual_seed(seed)
    magnitude = torch.stft(torch.from_numpy(samples), 512, 128, window=window, return_complex=True).abs()
    phase = torch.polar(torch.ones_like(magnitude), 2 * torch.pi * torch.rand(magnitude.shape, generator=draw))
    for _ in range(8):
        wave = torch.istft(magnitude * phase, 512, 128, window=window, length=len(samples))
        phase = torch.sgn(torch.stft(wave, 512, 128, window=window, return_complex=True))
    wave = torch.istft(magnitude * phase, 512, 128, window=window, length=len(samples))
    return (wave - wave.mean()).numpy()


def test_joins_of_real_speech_keep_its_level(speech: Callable) -> None:
    """Whatever the vocoder: within 1 dB at every join, between speech of any level and recordings of any offset."""
    source, _ = loud_and_soft(speech)
    recording = Recording(Audio(source, RATE))
    said = [
        follow_level(with_other_phases(heard.samples, seed), heard.samples, RATE)
        for seed, heard in enumerate(recording.chunks())
    ]
    made = np.concatenate([*recording.joined(said, RATE)])
    begins = np.cumsum([0, *(last - first for first, last in recording.kept)])
    assert len(recording.cuts) > 3
    for cut in recording.cuts[1:-1]:
        span = int(np.searchsorted(begins, cut)) - 1
        middle = recording.kept[span][0] + cut - begins[span]
        part = slice(middle - RATE // 2, middle + RATE // 2)
        assert abs(level(made[part]) - level(source[part])) < 1.0


def test_an_offset_is_not_taken_for_sound() -> None:
    """A loud stretch with an offset beside a soft one without."""
    sounds = [noise(6, -20), noise(6, -50, 1), noise(6, -20, 2)]
    reference = np.concatenate([sounds[0] + 0.05, sounds[1], sounds[2] + 0.05])
    made = follow_level(np.concatenate(sounds), reference, RATE)
    for first in (1, 7, 13):  # in each
        part = slice(first * RATE, (first + 4) * RATE)
        assert level(made[part]) == pytest.approx(level(np.concatenate(sounds)[part]), abs=0.3)


def test_a_level_is_followed_through_peaks() -> None:
    reference = np.concatenate([noise(10, -20), noise(10, -30, 1), noise(10, -20, 2)])
    flat = noise(30, -25, 3)
    flat[::RATE] = 0.5  # clicks, which a plain gain would keep below full scale by lowering all
    made = follow_level(flat, reference, RATE)
    assert np.abs(made).max() <= 1.0 and made.dtype == np.float32
    for second in range(1, 29, 2):
        if second % 10 != 9:  # where the level jumps
            part = slice(second * RATE, (second + 1) * RATE)
            assert level(made[part]) == pytest.approx(level(reference[part]), abs=1.5), second


@pytest.mark.parametrize("tempo", [0.5, 1.0, 2.0])
def test_pauses_sound_as_they_did_at_any_tempo(tempo: float) -> None:
    """Only how long they are moves with it."""
    sound = np.convolve(noise(36, -60), np.hanning(16) / 8, mode="same").astype(np.float32)
    recording = Recording(Audio(np.concatenate([noise(4, -20), sound, noise(4, -20)]), RATE))
    assert len(recording.kept) == 2
    said = (noise(tempo * len(heard.samples) / RATE, -20) for heard in recording.chunks())
    made = np.concatenate([*recording.joined(said, RATE, tempo)])
    assert len(made) == pytest.approx(tempo * 44 * RATE, abs=2)
    middle = made[int(tempo * 8 * RATE) : int(tempo * 36 * RATE)]

    def center(samples: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(samples)) ** 2
        return float((power * np.linspace(0, RATE / 2, len(power))).sum() / power.sum())

    assert center(middle) == pytest.approx(center(sound), rel=0.05)
    assert level(middle) == pytest.approx(level(sound), abs=1.0)


def test_a_pause_that_ends_in_less_than_a_sample() -> None:
    """Pauses are filled 10 s after 10 s: one sample of 48 kHz may be left that is none at 22,050 Hz."""
    rng = np.random.default_rng(0)
    whole = 0.1 * rng.standard_normal(52 * 48_000).astype(np.float32)
    whole[2 * 48_000 :] *= 1e-4
    over = (len(whole) - Recording(Audio(whole, 48_000)).kept[-1][1]) % (10 * 48_000)
    for more in range(1, 4):
        recording = Recording(Audio(whole[: len(whole) - over + more], 48_000))
        assert (recording.size - recording.kept[-1][1]) % (10 * 48_000) == more
        echo = (resample(heard.samples, 48_000, 22_050) for heard in recording.chunks())
        made = np.concatenate([*recording.joined(echo, 22_050)])
        assert abs(len(made) - recording.size * 22_050 / 48_000) <= 1
    assert len(noise_like(whole, 0, 0)) == 0 and not noise_like(whole[:0], 5, 0).any()
