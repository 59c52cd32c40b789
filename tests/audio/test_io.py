"""Files in and out, and every way a file can be unusable."""

import os
import tracemalloc

import numpy as np
import pytest
import soundfile

from revoice.audio import decoding as module
from revoice.audio.io import (
    AUDIO_SUFFIXES,
    Audio,
    AudioError,
    is_silent,
    probe_audio,
    read_audio,
    resample,
    write_audio,
)
from revoice.errors import UserError
from tests.hostile import flac, voice, wav


def tone(rate, seconds=0.5, hz=440.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 0.01),
        ("wav", "PCM_16", 1e-4),
        ("wav", "PCM_24", 1e-6),
        ("wav", "PCM_32", 1e-7),
        ("wav", "FLOAT", 0),
        ("wav", "DOUBLE", 0),
        ("flac", "PCM_16", 1e-4),
        ("aiff", "PCM_24", 1e-6),
    ],
)
def test_every_bit_depth_is_read(tmp_path, suffix, subtype, tolerance):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(16000), 16000, subtype=subtype)
    audio = read_audio(path)
    assert audio.sample_rate == 16000 and audio.samples.dtype == np.float32
    assert audio.seconds == pytest.approx(0.5)
    np.testing.assert_allclose(audio.samples, tone(16000), atol=tolerance)


@pytest.mark.parametrize("suffix", [s for s in AUDIO_SUFFIXES])
def test_every_container_comes_back(tmp_path, suffix):
    rate = 48000
    path = tmp_path / f"a{suffix}"
    write_audio(path, tone(rate), rate)
    audio = read_audio(path)
    assert audio.seconds == pytest.approx(0.5, abs=0.06)  # MP3 pads
    spectrum = np.abs(np.fft.rfft(audio.samples[:20000]))
    assert np.argmax(spectrum) * rate / 20000 == pytest.approx(440, abs=3)


def test_channels_are_averaged(tmp_path):
    left, right = tone(16000), np.zeros(8000, np.float32)
    soundfile.write(tmp_path / "s.wav", np.stack([left, right, right], 1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "s.wav").samples, left / 3, atol=1e-7)
    assert probe_audio(tmp_path / "s.wav").channels == 3


def test_a_window_of_a_file_is_read_and_resampled(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(48000, 2.0), 48000, subtype="FLOAT")
    audio = read_audio(tmp_path / "a.wav", 16000, start=0.5, seconds=0.25)
    assert (len(audio.samples), audio.sample_rate) == (4000, 16000)
    np.testing.assert_allclose(audio.samples[200:-200], tone(16000, 2.0)[8200:11800], atol=1e-3)
    with pytest.raises(AudioError, match="from 3 s on"):
        read_audio(tmp_path / "a.wav", start=3)


def test_resampling_keeps_a_tone_and_removes_what_cannot_be_held():
    np.testing.assert_allclose(resample(tone(48000), 48000, 16000)[200:-200], tone(16000)[200:-200], atol=1e-3)
    assert np.abs(resample(tone(48000, hz=15000), 48000, 16000)[200:-200]).max() < 1e-3
    same = tone(16000)
    assert resample(same, 16000, 16000) is same


def truncated_flac(path):
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 48000), 16000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def hostile(folder):
    """(path, part of the message) of files that must be refused."""
    (folder / "folder.wav").mkdir()
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("this is not audio\n" * 50)
    (folder / "noise.mp3").write_bytes(bytes(range(256)) * 20)
    (folder / "head.flac").write_bytes(b"fLaC" + bytes(40))
    truncated_flac(folder / "cut.flac")
    soundfile.write(folder / "nosamples.wav", np.zeros(0, np.float32), 16000)
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        samples = tone(16000)
        samples[100] = value
        soundfile.write(folder / f"{name}.wav", samples, 16000, subtype="FLOAT")
    os.mkfifo(folder / "pipe.wav")
    (folder / "raw.raw").write_bytes(bytes(1000))
    reasons = {
        "missing.wav": "no such file",
        "folder.wav": "a folder",
        "empty.wav": "empty",
        "text.wav": "not readable as audio",
        "noise.mp3": "not readable as audio",
        "head.flac": "",
        "cut.flac": "",
        "nosamples.wav": "no samples",
        "nan.wav": "not finite",
        "inf.wav": "not finite",
        "pipe.wav": "not a regular file",
        "raw.raw": "not readable",
    }
    return [(folder / name, reason) for name, reason in reasons.items()]


def test_unusable_files_are_refused_in_one_line(tmp_path):
    for path, reason in hostile(tmp_path):
        with pytest.raises(AudioError) as caught:
            read_audio(path)
        message = str(caught.value)
        assert "\n" not in message and path.name in message and reason in message, message


def test_writing_scales_instead_of_clipping(tmp_path):
    write_audio(tmp_path / "loud.wav", 4 * tone(16000), 16000, subtype="FLOAT")
    samples = read_audio(tmp_path / "loud.wav").samples
    np.testing.assert_allclose(samples, 2 * tone(16000), atol=1e-4)


def test_writing_is_atomic_and_refuses_what_it_cannot_do(tmp_path):
    write_audio(tmp_path / "deep" / "a.wav", tone(16000), 16000)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.wav"]
    with pytest.raises(AudioError, match="not finite"):
        write_audio(tmp_path / "bad.wav", np.array([0, np.nan]), 16000)
    with pytest.raises(UserError, match=r"\.wav"):
        write_audio(tmp_path / "bad.xyz", tone(16000), 16000)
    with pytest.raises(AudioError, match="cannot be written"):
        write_audio(tmp_path / "bad.wav", tone(16000), 16000, subtype="VORBIS")
    assert not list(tmp_path.glob("*bad*"))


def test_long_ogg_is_written_whole(tmp_path):
    write_audio(tmp_path / "a.ogg", tone(16000, 60.0), 16000)
    assert probe_audio(tmp_path / "a.ogg").seconds == pytest.approx(60, abs=0.1)


@pytest.mark.parametrize(
    "name", ["epoch=3.wav", "take (1).wav", "日本.wav", "it's.wav", "a,b.wav", "#1.wav", "100%.wav"]
)
def test_awkward_names_are_only_names(tmp_path, name):
    write_audio(tmp_path / name, tone(8000), 8000)
    assert len(read_audio(str(tmp_path / name)).samples) == 4000


@pytest.mark.parametrize("suffix", AUDIO_SUFFIXES)
def test_reading_in_blocks_changes_nothing(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    write_audio(path, np.stack([voice(1.0, 48000), voice(1.0, 48000, 200.0)], axis=1), 48000)
    whole = read_audio(path).samples
    same = len(whole) - (960 if suffix == ".opus" else 0)  # libsndfile's Opus ends otherwise after it was asked to seek
    for size in (997, 5000, 30011):
        monkeypatch.setattr(module, "_READ", 2 * size)
        parts = read_audio(path).samples
        assert len(parts) == len(whole)
        np.testing.assert_array_equal(parts[:same], whole[:same])


@pytest.mark.parametrize(
    "data",
    [
        lambda folder: ("flac", flac(folder, 2**36 - 1)),
        lambda folder: ("flac", flac(folder, 2**31)),
        lambda folder: ("flac", flac(folder, 0)),
        lambda folder: ("wav", wav(bytes(range(100)), claim=2**31)),
        lambda folder: ("wav", wav(bytes(100), channels=1024, claim=2**31)),
        lambda folder: ("wav", wav(bytes(100), channels=65535, claim=2**31)),
    ],
)
def test_memory_follows_what_a_file_holds_and_not_what_its_header_claims(tmp_path, data):
    suffix, content = data(tmp_path)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        read_audio(path)
    except AudioError:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20


def test_an_endless_recording_is_refused_as_a_whole_and_read_in_parts(tmp_path, monkeypatch):
    write_audio(tmp_path / "a.flac", np.zeros(50000), 16000)
    monkeypatch.setattr(module, "LONGEST", 40000)
    with pytest.raises(AudioError, match="longer than 40000 samples: cut it"):
        read_audio(tmp_path / "a.flac")
    assert read_audio(tmp_path / "a.flac", start=2, seconds=1).seconds == 1


@pytest.mark.parametrize("suffix", [".wav", ".aiff"])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_cut_file_is_truncated_and_a_streamed_one_is_not(tmp_path, suffix, subtype):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, np.linspace(-0.5, 0.5, 8000, dtype=np.float32), 16000, subtype=subtype)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for read in (read_audio, probe_audio):
        with pytest.raises(AudioError, match=r"truncated, \d+ of \d+ bytes of sound are there"):
            read(path)
    path.write_bytes(whole)
    assert len(read_audio(path).samples) == 8000
    if suffix == ".wav":  # a pipe does not know how much will come
        place = whole.index(b"data") + 4
        for claim in (0xFFFFFFFF, 0x7FFFFFFF):
            path.write_bytes(whole[:place] + claim.to_bytes(4, "little") + whole[place + 4 :])
            assert len(read_audio(path).samples) == 8000


@pytest.mark.parametrize("rate", [0, 1, 3999, 768001, 10**9, 2**31 - 1])
def test_absurd_sample_rates_are_refused(tmp_path, rate):
    (tmp_path / "a.wav").write_bytes(wav((voice() * 30000).astype("<i2").tobytes(), rate=rate))
    for read in (read_audio, probe_audio):
        with pytest.raises(AudioError, match=f"has {rate} samples a second" if rate else "not readable as audio"):
            read(tmp_path / "a.wav")


def test_samples_far_beyond_full_scale_are_refused(tmp_path):
    for peak, fine in ((3.0, True), (99.0, True), (32000.0, False), (3e38, False)):
        soundfile.write(tmp_path / "a.wav", peak * voice() / np.abs(voice()).max(), 16000, subtype="FLOAT")
        if fine:
            assert np.abs(read_audio(tmp_path / "a.wav").samples).max() == pytest.approx(peak)
        else:
            with pytest.raises(AudioError, match="full scale is 1"):
                read_audio(tmp_path / "a.wav")


def test_silence_is_what_does_not_move():
    assert is_silent(np.zeros(0)) and is_silent(np.full(10, -0.5)) and is_silent(voice() * 1e-4)
    assert not is_silent(voice() * 1e-3) and not is_silent(voice() + 0.5)


@pytest.mark.parametrize(
    ("samples", "rate", "words"),
    [
        (np.zeros((800, 2), np.float32), 16000, r"shape \(800, 2\).*samples.mean\(axis=1\)"),
        (np.zeros((2, 800), np.float32), 16000, r"samples.mean\(axis=0\)"),
        (np.zeros(800, np.int16), 16000, r"int16.*samples / 32768"),
        (np.zeros(800, np.uint8), 16000, "uint8"),
        (np.zeros(800, np.float16), 16000, r"float16.*samples.astype\(np.float32\)"),
        (np.zeros(800, bool), 16000, "bool"),
        ([0.0] * 800, 16000, "is a list.*np.asarray"),
        *(
            (np.zeros(800, np.float32), rate, f"has {words} samples a second, expected 4000 to 768000")
            for rate, words in (
                (0, 0), (-16000, -16000), (3999, 3999), (768_001, 768001), (22050.5, 22050.5), (np.float32(0.5), 0.5),
                (np.nan, "nan"), (np.inf, "inf"), (None, None), ("16000", 16000), (True, True),
            )
        ),
    ],
)  # fmt: skip
def test_a_recording_in_memory_is_mono_and_of_floats(samples: object, rate: object, words: str) -> None:
    with pytest.raises(AudioError, match=words):
        Audio(samples, rate)


@pytest.mark.parametrize("rate", [16000, 16000.0, np.int64(16000), np.float32(16000), np.array(16000)])
def test_a_whole_rate_of_any_kind_is_one(tmp_path, rate: object) -> None:
    audio = Audio(voice(), rate)
    assert type(audio.sample_rate) is int and audio.sample_rate == 16000
    assert read_audio(audio.save(tmp_path / "a.wav")).sample_rate == 16000
