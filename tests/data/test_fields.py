import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import tone, write_tone

from revoice.audio.features import extract
from revoice.audio.io import Audio, AudioError, read_audio, write_audio
from revoice.audio.presets import load_preset, preset_names
from revoice.audio.speaker import speaker_encoder
from revoice.data.fields.base import FIELDS, build_field
from revoice.data.fields.clip import Clip, load_clip
from revoice.errors import UserError

SPEC = load_preset("mel_22k")
LABELS = ("features", "f0", "embedding", "waveform")


def clips(*seconds: float, rate: int = 24000) -> list[Clip]:
    return [Clip(Audio(tone(s, 100 + 30 * i, rate, seed=i), rate), s) for i, s in enumerate(seconds)]


def test_every_field_is_here() -> None:
    assert set(LABELS) <= set(FIELDS.names())


@pytest.mark.parametrize("label", LABELS)
def test_a_result_does_not_depend_on_its_company(label: str) -> None:
    field = build_field(label, SPEC)
    together = field.compute(clips(0.4, 1.0, 0.7))
    for clip, array in zip(clips(0.4, 1.0, 0.7), together, strict=True):
        (alone,) = field.compute([clip])
        np.testing.assert_allclose(array, alone, atol=1e-5)
        if field.per_frame is not None:
            assert len(array) == SPEC.frames(len(clip.at(SPEC.sample_rate))) * field.per_frame


@pytest.mark.parametrize("name", preset_names())
def test_features_are_those_of_conversion(tmp_path: Path, name: str) -> None:
    spec = load_preset(name)
    path = write_tone(tmp_path / "a.wav", 0.5, rate=48000)
    field = build_field("features", spec)
    (stored,) = field.compute([load_clip(path)])
    expected = extract(read_audio(path, spec.sample_rate).samples, spec)
    assert stored.shape == (expected.shape[1], spec.channels) and np.isfinite(stored.astype(field.dtype)).all()
    assert np.array_equal(stored, expected.T.numpy())


def test_embedding_is_that_of_the_file(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav", 1.5, rate=48000)
    (stored,) = build_field("embedding", SPEC).compute([load_clip(path)])
    np.testing.assert_allclose(stored, speaker_encoder().embed([read_audio(path)])[0].numpy(), atol=1e-6)


def test_f0_of_a_tone() -> None:
    (f0,) = build_field("f0", SPEC).compute(clips(0.8))
    voiced = f0[f0 > 0]
    assert f0.shape == (SPEC.frames(round(0.8 * 22050)),) and len(voiced) > 0.7 * len(f0)
    assert np.median(voiced) == pytest.approx(100, rel=0.02)


def test_waveform_is_whole_frames() -> None:
    field = build_field("waveform", SPEC)
    (clip,) = clips(0.5)
    (stored,) = field.compute([clip])
    samples = clip.at(SPEC.sample_rate)
    assert stored.dtype == np.int16 and field.per_frame == SPEC.hop and len(stored) % SPEC.hop == 0
    np.testing.assert_allclose(stored * field.scale, samples[: len(stored)], atol=1e-4)
    assert field.compute([Clip(Audio(np.full(22050, 1.5, np.float32), 22050), 1.0)])[0].max() == 32767


def test_keys_name_what_decides_the_result() -> None:
    def key(label: str, spec=SPEC, **settings) -> str:
        return build_field(label, spec, {label: settings}).key

    other = replace(SPEC, mels=40)
    assert key("features") != key("features", other) != key("features", replace(SPEC, storage="float32"))
    assert key("f0") == key("f0", other) != key("f0", method="harvest")  # the same frames: shared by both presets
    assert key("f0") != key("f0", load_preset("mel_24k100"))
    assert key("embedding") == key("embedding", load_preset("mel_24k100"))
    assert key("f0", ceil=500) == key("f0", ceil=500.0)
    assert all(pickle.loads(pickle.dumps(build_field(label, SPEC))) == build_field(label, SPEC) for label in LABELS)


def test_unknown_field_and_setting() -> None:
    with pytest.raises(UserError, match=r"unknown field 'featurs'.*did you mean 'features'"):
        build_field("featurs", SPEC)
    with pytest.raises(UserError, match="method"):
        build_field("f0", SPEC, {"f0": {"metod": "dio"}})


def test_trimming_happens_once_at_the_files_rate(tmp_path: Path) -> None:
    silence = np.zeros(24000, np.float32)
    write_audio(tmp_path / "a.wav", np.concatenate([silence, tone(1.0, rate=48000), silence]), 48000)
    whole, cut = load_clip(tmp_path / "a.wav"), load_clip(tmp_path / "a.wav", trim_db=30)
    assert whole.seconds == cut.seconds == whole.audio.seconds == 2.0
    assert cut.audio.seconds == pytest.approx(1.0, abs=0.1)
    assert cut.at(16000) is cut.at(16000) and torch.is_tensor(torch.from_numpy(cut.at(16000)))


def test_digital_silence_is_refused(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", np.zeros(8000, np.float32), 8000)
    with pytest.raises(AudioError, match="silence"):
        load_clip(tmp_path / "a.wav", trim_db=30)


def test_pairs_are_anonymized_copies_frame_by_frame() -> None:
    spec = load_preset("stft_16k")
    how = {"paired": {"settings": {"envelope_stretch": [0.8, 1.25], "f0_range": [90, 200]}, "copies": 3}}
    field = build_field("paired:cepstrum", spec, how)
    clip = Clip(Audio(tone(0.4, 120, 16000), 16000), 0.4)
    (made,) = field.compute([clip])
    one, two, _ = np.split(made, 3, axis=1)
    assert made.shape == (spec.frames(len(clip.at(16000))), 3 * spec.channels) and not np.array_equal(one, two)
    assert np.array_equal(made, field.compute([clip])[0]) and len(field.padding) == 3 * spec.channels
    settled = field.settled()
    assert settled.copies == 1 and settled.settings == {"envelope_stretch": 1.0, "f0_range": pytest.approx(134.164)}
    keeps = build_field("paired:cepstrum", spec, {"paired": {"copies": 2}})
    assert keeps.settled(150.0).settings == {"f0_range": 150.0} and keeps.settled().settings == {}
    turned = build_field("paired:mcadams", spec).settled(150.0)  # which moves no pitch, and draws if nothing is set
    assert turned.settings == {"coefficient": pytest.approx(0.45**0.5)}
    assert len({field.key, keeps.key, build_field("paired:mcadams", spec).key}) == 3
    with pytest.raises(UserError, match="anonymizer"):
        build_field("paired:nobody", spec)
    with pytest.raises(UserError, match="paired:NAME"):
        build_field("paired", spec).compute([clip])
