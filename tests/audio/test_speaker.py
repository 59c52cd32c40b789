"""The speaker encoder against the package whose weights it uses."""

import numpy as np
import pytest
import torch

from revoice.audio.io import Audio
from revoice.audio.speaker import SpeakerEncoder, _shared, partial_starts, speaker_encoder
from revoice.audio.vad import drop_silence
from revoice.errors import UserError


@pytest.fixture(scope="module")
def encoder():
    return SpeakerEncoder()


@pytest.fixture(scope="module")
def package():
    return pytest.importorskip("resemblyzer")


@pytest.fixture(scope="module")
def oracle(package):
    return package.VoiceEncoder("cpu", verbose=False)


def voice(rate, seconds, hz, seed=0):
    """Something a voice detector accepts: a gliding, gated, formant-like buzz with pauses, and some noise."""
    rng, time = np.random.default_rng(seed), np.arange(int(rate * seconds)) / rate
    phase = 2 * np.pi * np.cumsum(hz * (1 + 0.1 * np.sin(2 * np.pi * 2.5 * time))) / rate
    wave = sum(np.sin(k * phase) * np.exp(-(((k * hz - 600) / 500) ** 2)) for k in range(1, 30) if k * hz < rate / 2.2)
    gate = np.clip(4 * np.sin(2 * np.pi * 1.3 * time + seed), 0, 1) * (np.sin(2 * np.pi * 0.3 * time) > -0.5)
    return (0.05 * wave * gate + rng.normal(0, 1e-4, len(time))).astype(np.float32)


CLIPS = [
    (16000, 3.0, 120),
    (16000, 0.9, 200),
    (22050, 2.2, 180),
    (48000, 5.3, 95),
    (16000, 1.6, 240),
    (44100, 0.3, 150),
]


def test_equal_to_the_package_for_any_rate_and_length(encoder, package, oracle):
    clips = [Audio(voice(rate, seconds, hz, i), rate) for i, (rate, seconds, hz) in enumerate(CLIPS)]
    expected = [
        oracle.embed_utterance(package.preprocess_wav(clip.samples, source_sr=clip.sample_rate)) for clip in clips
    ]
    found = encoder.embed(clips)
    assert found.shape == (len(clips), 256) and found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), np.stack(expected), atol=1e-5)
    same = oracle.embed_speaker([package.preprocess_wav(c.samples, source_sr=c.sample_rate) for c in clips])
    np.testing.assert_allclose(encoder.mean_embedding(clips).numpy(), same, atol=1e-5)


def test_equal_to_the_package_on_real_speech(shared, encoder, package, oracle):
    from revoice.audio.io import read_audio

    files = sorted((shared / "data").rglob("*.flac"))[::40]
    clips = [read_audio(path, seconds=4.0) for path in files]
    expected = [oracle.embed_utterance(package.preprocess_wav(c.samples, source_sr=c.sample_rate)) for c in clips]
    np.testing.assert_allclose(encoder.embed(clips).numpy(), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("seconds", [0.05, 0.2, 1.0, 4.0])
@pytest.mark.parametrize("level", [0.001, 0.5])
def test_preprocessing_equals_the_package_s(encoder, package, seconds, level):
    clip = level * voice(22050, seconds, 130) / 0.1
    ours, theirs = encoder.preprocess(clip, 22050), package.preprocess_wav(clip, source_sr=22050)
    if len(theirs):  # where nothing sounds like a voice the package returns nothing; ours keeps the clip
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert len(ours)


@pytest.mark.parametrize("samples", [1, 160, 8000, 25600, 25601, 40000, 48000, 100001, 960000])
def test_partials_are_cut_as_in_the_package(package, samples):
    _, slices = package.VoiceEncoder.compute_partial_slices(samples, rate=1.3, min_coverage=0.75)
    assert partial_starts(samples) == [s.start for s in slices]


def test_arrays_are_taken_as_16_khz_and_order_is_kept(encoder):
    clips = [voice(16000, s, hz) for s, hz in ((2.0, 110), (0.7, 220), (3.1, 150))]
    together = encoder.embed(clips)
    alone = torch.cat([encoder.embed([clip]) for clip in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.embed([Audio(clips[1], 16000)])[0], together[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))


def test_chunks_bound_the_memory_without_changing_the_result(encoder, monkeypatch):
    clips = [voice(16000, s, 100 + 20 * i) for i, s in enumerate((1.0, 4.0, 2.0, 3.0))]
    whole = encoder.embed(clips)
    monkeypatch.setattr("revoice.audio.speaker._CHUNK_SAMPLES", 50000)
    monkeypatch.setattr("revoice.audio.speaker._CHUNK_PARTIALS", 2)
    torch.testing.assert_close(encoder.embed(clips), whole, atol=1e-5, rtol=0)


def test_silence_noise_and_nothing_do_not_break_it(encoder):
    rng = np.random.default_rng(0)
    clips = [np.zeros(16000, np.float32), rng.normal(0, 0.1, 16000).astype(np.float32), np.zeros(10, np.float32)]
    assert torch.isfinite(encoder.embed(clips)).all()
    assert encoder.embed([]).shape == (0, 256)
    with pytest.raises(UserError, match="at least one clip"):
        encoder.mean_embedding([])


def test_without_voice_detection_pauses_stay():
    clip = np.concatenate([voice(16000, 1.0, 120), np.zeros(32000, np.float32), voice(16000, 1.0, 120)])
    assert len(drop_silence(clip, 16000)) < len(clip) - 16000
    assert len(SpeakerEncoder(vad=False).preprocess(clip)) == len(clip)


def test_wrong_weights_are_a_one_line_error(tmp_path):
    with pytest.raises(UserError, match="no speaker encoder weights"):
        SpeakerEncoder(tmp_path / "none.pt")


def test_the_shared_encoder_is_loaded_once_and_frozen():
    assert speaker_encoder() is speaker_encoder()
    assert not any(p.requires_grad for p in speaker_encoder().parameters())


def test_the_network_itself_is_differentiable(encoder):
    mels = torch.rand(2, 160, 40, requires_grad=True)
    (encoder(mels) ** 3).sum().backward()
    assert mels.grad is not None and mels.grad.abs().sum() > 0


def test_who_asks_first_does_not_decide_whether_gradients_flow() -> None:
    _shared.cache_clear()
    with torch.inference_mode():
        first = speaker_encoder()
    assert speaker_encoder("cpu") is first  # and it is loaded once
    mels = torch.rand(1, 160, 40, requires_grad=True)
    speaker_encoder()(mels).sum().backward()
    assert mels.grad is not None
