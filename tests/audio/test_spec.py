"""FeatureSpec: identity, validation, silence, lengths."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from revoice.audio.features import extract
from revoice.audio.presets import config_dir, load_preset, preset_names
from revoice.audio.spec import NOT_ACOUSTIC, FeatureSpec
from revoice.errors import UserError

BASE = FeatureSpec(sample_rate=16000, n_fft=1024, hop=256, win=1024, mels=80)


def test_presets_of_the_published_systems_are_there():
    expected = {
        "mel_22k": 80,
        "mel_22k_tacotron": 80,
        "mel_24k100": 100,
        "adain_24k": 512,
        "speechsplit_16k": 80,
        "zerospeech_16k": 80,
        "linear_16k": 1025,
        "db_16k384": 257,
        "log1p_22k": 257,
        "stft_16k": 256,
    }
    assert {name: load_preset(name).channels for name in expected} == expected
    assert set(expected) <= set(preset_names())


def test_an_unknown_preset_names_the_valid_ones():
    with pytest.raises(UserError, match=r"did you mean 'mel_22k'.*adain_24k"):
        load_preset("mel22k")
    assert (config_dir() / "features" / "mel_22k.yaml").is_file()


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_survives_json(name):
    spec = load_preset(name)
    again = FeatureSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec and again.fingerprint == spec.fingerprint and hash(again) == hash(spec)


def test_presets_have_different_fingerprints_of_12_hex_digits():
    prints = [load_preset(name).fingerprint for name in preset_names()]
    assert len(set(prints)) == len(prints)
    assert all(len(p) == 12 and int(p, 16) >= 0 for p in prints)


def test_the_fingerprint_of_the_default_features_never_changes():
    assert load_preset("mel_22k").fingerprint == "79cd5b3590ad"


@pytest.mark.parametrize(
    "change",
    [{"hop": 128}, {"fmax": 7000}, {"pad_mode": "constant"}, {"gain": 0.5}, {"floor": 1e-6}, {"scale": "db"}],
)
def test_acoustic_changes_change_the_fingerprint(change):
    other = replace(BASE, **change)
    assert other.fingerprint != BASE.fingerprint
    name, value = next(iter(change.items()))
    assert any(line.startswith(f"{name}: ") and line.endswith(str(value)) for line in BASE.differences(other))
    with pytest.raises(UserError, match=f"data and vocoder .*{name}: "):
        BASE.require_match(other, "data", "vocoder")


def test_storage_and_the_way_back_are_outside_the_fingerprint():
    other = replace(BASE, storage="float32", mel_inverse="pinv", dither_seed=7)
    assert {"storage", "mel_inverse", "dither_seed"} == set(NOT_ACOUSTIC)
    assert other != BASE and other.fingerprint == BASE.fingerprint and not BASE.differences(other)
    BASE.require_match(other, "a", "b")


def test_equal_meanings_have_equal_fingerprints():
    assert replace(BASE, fmax=8000).fingerprint == BASE.fingerprint
    assert FeatureSpec.from_dict({**BASE.to_dict(), "gain": 1, "floor": "1e-5"}) == BASE
    linear = replace(BASE, mels=0)
    assert replace(linear, mel_scale="htk", fmax=4000).fingerprint == linear.fingerprint


def test_a_spec_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        BASE.hop = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hp": 3}, "did you mean 'hop'"),
        ({"hop": 0}, "hop=0: expected a whole number from 1"),
        ({"hop": 2000}, "must not exceed win"),
        ({"hop": 1.5}, "hop=1.5: expected a whole number"),
        ({"win": 4096}, "win must be"),
        ({"n_fft": 1023, "win": 512}, "must be even"),
        ({"fmax": 9000}, "fmax"),
        ({"scale": "logg"}, "did you mean 'log'"),
        ({"padding": "valid"}, "padding"),
        ({"phase": True}, "phase needs"),
        ({"top_db": 80}, "top_db needs"),
        ({"floor": 0}, "floor"),
        ({"preemphasis": 1.5}, "preemphasis"),
        ({"clip": 3}, "clip"),
        ({"highpass": 9000}, "highpass"),
        ({"mels": "many"}, "mels"),
    ],
)
def test_impossible_settings_are_one_line_errors(change, message):
    with pytest.raises(UserError, match=message) as caught:
        FeatureSpec.from_dict({**BASE.to_dict(), **change})
    assert "\n" not in str(caught.value)


def test_a_missing_setting_is_named():
    with pytest.raises(UserError, match="hop"):
        FeatureSpec.from_dict({"sample_rate": 16000, "n_fft": 512, "win": 512})


@pytest.mark.parametrize("name", preset_names())
def test_digital_silence_extracts_to_the_silence_value(name):
    spec = load_preset(name)
    found = extract(torch.zeros(8 * spec.n_fft), spec)[:, 2:-2]
    expected = torch.tensor(spec.silence_frame)[:, None].expand_as(found)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("samples", [5000, 5120, 6001, 9600])
def test_frames_counts_what_extract_makes(name, samples):
    spec = load_preset(name)
    assert extract(torch.randn(samples), spec).shape == (spec.channels, spec.frames(samples))
    assert spec.frames(spec.samples(20)) == 20
