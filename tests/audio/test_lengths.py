"""Recordings whose length is not what their headers say, or of which a decoder leaves something out in silence."""

import errno
import importlib.util
import io
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from revoice.audio.ffmpeg import BY_FFMPEG
from revoice.audio.io import RECORDINGS, AudioError, is_silent, probe_audio, read_audio
from revoice.audio.mp3 import _frames
from tests.hostile import voice

RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)


def encoded(suffix: str, rate: int, seconds: float = 2.0, channels: int = 1) -> bytes:
    container, subtype = {"mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}[suffix]
    data = io.BytesIO()
    sound = np.stack([voice(seconds, rate, 110.0 + 40 * c) for c in range(channels)], axis=1)
    soundfile.write(data, sound, rate, format=container, subtype=subtype)
    return data.getvalue()


def bare(mp3: bytes) -> bytes:
    """Without the first frame, which tells how many follow."""
    return mp3[list(_frames(mp3))[1].place :]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("mp3_without_xing/one.mp3", 3.88), ("mp3_without_xing/cbr.mp3", 3.94), ("mp3_without_xing/vbr.mp3", 3.94),
     ("mp3_without_xing/joined.mp3", 11.7), ("mp3_in_wav/mp3.wav", 3.94), ("inverted_stereo/inverted.flac", 2.0)],
)  # fmt: skip
def test_recordings_that_were_read_short_are_read_to_the_end(shared: Path, name: str, seconds: float) -> None:
    audio = read_audio(shared / "cases" / name)
    assert audio.seconds == pytest.approx(seconds, abs=0.1 if "joined" in name else 0.01)
    assert probe_audio(shared / "cases" / name).seconds == audio.seconds
    assert not is_silent(audio.samples) and np.abs(audio.samples[-audio.sample_rate // 2 :]).max() > 0.01


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_an_mp3_without_a_count_is_read_to_the_end(tmp_path: Path, rate: int, channels: int) -> None:
    whole = encoded("mp3", rate, channels=channels)
    told, untold = written(tmp_path / "a.mp3", whole), written(tmp_path / "b.mp3", bare(whole))
    with soundfile.SoundFile(untold) as file:
        assert file.frames < 1.75 * rate  # what its decoder believes
    for path in (told, untold):
        audio = read_audio(path)
        assert audio.seconds == pytest.approx(2.0, abs=0.2) and probe_audio(path).frames == len(audio.samples)
    part = read_audio(untold, start=1.0, seconds=0.5)
    assert len(part.samples) == rate // 2  # libsndfile's MP3 needs a frame or two to begin within a file
    assert part.samples[3000:] == pytest.approx(audio.samples[rate + 3000 : rate + rate // 2], abs=1e-6)


def test_an_mp3_with_a_right_count_is_left_to_its_decoder(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp3", encoded("mp3", 16000))
    with soundfile.SoundFile(path) as file:
        expected = file.read(file.frames, dtype="float32")
    np.testing.assert_array_equal(read_audio(path).samples, expected)


@pytest.mark.parametrize("between", [b"", b"TAG" + bytes(125), b"ID3\4\0\0\0\0\0\x40" + bytes(64)])
@pytest.mark.parametrize("cut", [bare, bytes])
def test_mp3s_put_together_are_read_to_the_end(tmp_path: Path, cut: type, between: bytes) -> None:
    parts = [cut(encoded("mp3", 16000, seconds)) for seconds in (1.0, 2.0, 1.5)]
    audio = read_audio(written(tmp_path / "a.mp3", between.join(parts)))
    assert audio.seconds == pytest.approx(4.5, abs=0.4)


def test_mp3s_of_two_rates_put_together_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp3", encoded("mp3", 16000) + encoded("mp3", 24000))
    with pytest.raises(AudioError, match="changes its sample rate"):
        read_audio(path)


def riff(mp3: bytes, rate: int) -> bytes:
    """MP3 in a WAV, as recorders and ffmpeg write it (format tag 0x55)."""
    head = struct.pack("<HHIIHHHHIHHH", 0x55, 1, rate, 4000, 1, 0, 12, 1, 2, 144, 1, 1393)
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + b"fact" + struct.pack("<II", 4, 1)
    chunks += b"data" + struct.pack("<I", len(mp3)) + mp3 + bytes(len(mp3) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@pytest.mark.parametrize("cut", [bare, bytes])
def test_an_mp3_in_a_wav_is_read_to_the_end(tmp_path: Path, cut: type) -> None:
    path = written(tmp_path / "a.wav", riff(cut(encoded("mp3", 16000)), 16000))
    assert read_audio(path).seconds == pytest.approx(2.0, abs=0.15)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(AudioError, match="truncated"):
        read_audio(path)


def test_a_hole_in_an_mp3_is_told(tmp_path: Path) -> None:
    whole = encoded("mp3", 16000)
    middle = len(whole) // 2
    for damage in (bytes(400), b"", bytes(range(200)) * 2):
        broken = whole[:middle] + damage + whole[middle + 400 :]
        for cut, words in ((bytes, "truncated"), (bare, "are no MP3")):
            with pytest.raises(AudioError, match=words):
                read_audio(written(tmp_path / "a.mp3", cut(broken)))


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8, 0.9, 0.98, 0.999])
def test_a_cut_ogg_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    whole = encoded(suffix, 16000)
    path = written(tmp_path / f"a.{suffix}", whole[: int(share * len(whole))])
    with pytest.raises(AudioError):
        read_audio(path)
    with pytest.raises(AudioError):
        probe_audio(path)


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_a_flipped_bit_in_an_ogg_is_told_wherever_it_is(tmp_path: Path, suffix: str) -> None:
    whole = encoded(suffix, 16000)
    for place in range(30, len(whole), len(whole) // 40):
        changed = bytearray(whole)
        changed[place] ^= 8
        with pytest.raises(AudioError):
            read_audio(written(tmp_path / f"a.{suffix}", bytes(changed)))


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_oggs_end_with_their_last_page(tmp_path: Path, suffix: str) -> None:
    whole = encoded(suffix, 16000)
    last = whole.rindex(b"OggS")
    reasons = {whole[:last]: "its last page is missing", whole + whole: "several recordings in one file"}
    for data, words in reasons.items():
        with pytest.raises(AudioError, match=words):
            read_audio(written(tmp_path / f"a.{suffix}", data))
    for junk in (bytes(100), b"TAG" + bytes(125)):
        assert read_audio(written(tmp_path / f"a.{suffix}", whole + junk)).seconds == pytest.approx(2.0, abs=0.01)


def test_an_ogg_is_looked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.ogg", encoded("ogg", 16000))
    read_audio(path)
    monkeypatch.setattr("revoice.audio.ogg._is_whole", lambda page: pytest.fail("its pages are looked at again"))
    assert len(read_audio(path, start=0.5, seconds=0.5).samples) == 8000


@pytest.mark.parametrize("share", [-1.0, -0.98])
def test_channels_that_cancel_each_other_out_are_heard(tmp_path: Path, share: float) -> None:
    left = voice(1.0)
    soundfile.write(tmp_path / "a.wav", np.stack([left, share * left], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").samples, left)
    part = read_audio(tmp_path / "a.wav", start=0.5, seconds=0.25)
    np.testing.assert_array_equal(part.samples, left[8000:12000])


@pytest.mark.parametrize("right", [0.0, 1.0, -0.3, None])
def test_other_channels_are_averaged(tmp_path: Path, right: float | None) -> None:
    left = voice(1.0)
    other = voice(1.0, f0=170.0) if right is None else right * left
    soundfile.write(tmp_path / "a.wav", np.stack([left, other], axis=1), 16000, subtype="FLOAT")
    mean = np.stack([left, other], axis=1).astype(np.float32).mean(axis=1, dtype=np.float32)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").samples, mean)


def m4a(path: Path, seconds: float = 2.0, rate: int = 16000) -> Path:
    av = pytest.importorskip("av")
    with av.open(path, "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(voice(seconds, rate)[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def test_a_phone_recording_is_read(tmp_path: Path) -> None:
    audio = read_audio(m4a(tmp_path / "a.m4a"))
    assert audio.seconds == pytest.approx(2.0, abs=0.15) and probe_audio(tmp_path / "a.m4a").seconds == audio.seconds
    spectrum = np.abs(np.fft.rfft(audio.samples[4000:20000]))
    assert np.argmax(spectrum) == pytest.approx(130, abs=2)
    part = read_audio(tmp_path / "a.m4a", start=0.5, seconds=0.5)
    np.testing.assert_array_equal(part.samples, audio.samples[8000:16000])


def test_a_damaged_phone_recording_is_told(tmp_path: Path) -> None:
    whole = m4a(tmp_path / "whole.m4a").read_bytes()
    playlist = f"#EXTM3U\n#EXTINF:2,\n{tmp_path / 'whole.m4a'}\n".encode()
    concat = f"ffconcat version 1.0\nfile '{tmp_path / 'whole.m4a'}'\n".encode()
    for data in (whole[:-200], whole[:100], b"text\n" * 50, playlist, concat, bytes(5000), whole[4:]):
        for suffix in BY_FFMPEG:
            with pytest.raises(AudioError) as error:
                read_audio(written(tmp_path / f"a{suffix}", data))
            assert "\n" not in str(error.value)


def test_without_its_reader_a_phone_recording_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.m4a").write_bytes(b"anything")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AudioError, match=r"\.m4a is read by PyAV.*revoice\[formats\].*ffmpeg -i"):
        read_audio(tmp_path / "a.m4a")


def test_a_phone_recording_is_read_by_several_at_once(tmp_path: Path) -> None:
    path = m4a(tmp_path / "a.m4a", 4.0)
    whole = read_audio(path).samples
    starts = [i % 7 / 2 for i in range(200)]
    with ThreadPoolExecutor(8) as threads:
        parts = [*threads.map(lambda start: read_audio(path, start=start, seconds=0.5).samples, starts)]
    for start, part in zip(starts, parts, strict=True):
        np.testing.assert_array_equal(part, whole[int(start * 16000) :][:8000])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_full_temporary_disk_is_not_the_recording_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = m4a(tmp_path / "a.m4a")
    with monkeypatch.context() as full:
        full.setattr("revoice.audio.ffmpeg.TemporaryFile", lambda: open("/dev/full", "r+b", buffering=0))
        with pytest.raises(AudioError, match="No space left on device in the temporary folder") as caught:
            read_audio(path)
        assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == errno.ENOSPC
    assert read_audio(path).seconds > 1


def test_every_kind_of_recording_is_refused_in_one_line(tmp_path: Path) -> None:
    for suffix in RECORDINGS:
        for data in (b"", b"noise" * 100, bytes(100)):
            with pytest.raises(AudioError):
                read_audio(written(tmp_path / f"a{suffix}", data))
