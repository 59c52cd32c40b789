"""The parity command: every golden tensor of the feature functions, and that it can fail."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from revoice.interop.fixture import load_fixture
from revoice.interop.parity import compare, main

FIXTURES = (
    "adain_vc/features",
    "adain_vc/inverse",
    "speechsplit/features",
    "speechsplit/generator_G",
    "speechsplit/f0_converter_P",
    "speechsplit/random_resampling",
    "speechsplit/f0_quantise_normalise",
    "random_cnn/features",
    "random_cnn/losses",
    "random_cnn/losses_full_257",
    "hifigan/mel",
    "hifigan/generator_resblock1",
    "hifigan/generator_resblock2",
    "hifigan/discriminators",
    "vocos/vocos_same",
    "vocos/vocos_center",
    "vocos/vocos_adanorm_same",
    "waveglow/mel_tacotron2",
    "speech2speech/vqvae_legacy_stride1",
    "whisper/encoder",
)


@pytest.mark.parametrize("name", FIXTURES)
def test_golden_tensors_are_reproduced(shared, name):
    fixture = load_fixture(shared / "parity" / f"{name}.json")
    rows = compare(fixture)
    assert {row.output for row in rows} == set(fixture.outputs)
    assert [row for row in rows if not row.ok] == []
    given = [row.output for row in rows if row.error is None]
    assert all(output.startswith("log_f0_rapt_") for output in given)


def write_fixture(folder, tensors, **described):
    save_file(tensors, folder / "f.safetensors")
    (folder / "f.json").write_text(json.dumps({"case": "rc_f", **described}))
    return str(folder / "f.json")


CONFIG = {"sr": 16000, "n_fft": 256, "hop": 64, "win": 256}


def random_cnn_fixture(folder, change=0.0, **described):
    wav = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    window = torch.hann_window(256, dtype=torch.float64)
    stft = torch.stft(wav.double(), 256, 64, 256, window, pad_mode="reflect", return_complex=True)
    expected = torch.log1p(stft.abs()).float().contiguous()
    expected[5, 5] += change
    noise = {"log1p_mag_reflect": {"suggested_atol": 1e-5}}
    tensors = {"in/wav": wav, "out/log1p_mag_reflect": expected, **described.pop("more", {})}
    return write_fixture(folder, tensors, **{"config": CONFIG, "outputs_noise": noise, **described})


def test_other_sizes_pass(tmp_path, capsys):
    assert main([random_cnn_fixture(tmp_path)]) == 0
    assert "1 outputs, 0 failed" in capsys.readouterr().out


def test_a_corrupted_value_fails(tmp_path, capsys):
    assert main([random_cnn_fixture(tmp_path, change=1e-3)]) == 1
    printed = capsys.readouterr().out
    assert "FAIL" in printed and "1.00e-03" in printed and "1.00e-05" in printed


@pytest.mark.parametrize("name", FIXTURES)
def test_any_corrupted_output_of_a_real_fixture_fails(shared, tmp_path, name):
    source = shared / "parity" / f"{name}.json"
    tensors = load_file(source.with_suffix(".safetensors"))
    outputs = [key for key in tensors if key.startswith("out/") and "rapt" not in key and "_100" not in key]
    for key in outputs:
        tensors[key] = tensors[key].clone()
        value = tensors[key].reshape(-1)
        loud = int(value.double().clamp(min=-1e9).abs().argmax())
        value[loud] = value[loud] * 1.2 + 2
    save_file(tensors, tmp_path / "f.safetensors")
    described = json.loads(source.read_text())
    if "weights" in described:
        described["weights"] = str(load_fixture(source).weights)
    (tmp_path / "f.json").write_text(json.dumps(described))
    rows = {row.output: row for row in compare(load_fixture(tmp_path / "f.json"))}
    assert all(not rows[key.removeprefix("out/")].ok for key in outputs)


def test_a_wrong_shape_and_an_uncomputed_output_fail(tmp_path, capsys):
    more = {"out/surprise": torch.zeros(3)}
    assert main([random_cnn_fixture(tmp_path, more=more)]) == 1
    assert "not computed here" in capsys.readouterr().out
    (tmp_path / "h").mkdir()
    wav = torch.randn(5000)
    config = {"sampling_rate": 22050, "filter_length": 1024, "hop_length": 256, "win_length": 1024}
    config |= {"mel_fmin": 0.0, "mel_fmax": 8000.0}
    tensors = {
        "in/wav": wav,
        "in/wav_int16": wav.to(torch.int16),
        "out/mel": torch.zeros(80, 3),
        "out/other": wav.clone(),
    }
    assert main([write_fixture(tmp_path / "h", tensors, case="wg_mel", config=config)]) == 1
    printed = capsys.readouterr().out
    assert "shape (80, 20), expected (80, 3)" in printed and "not computed here" in printed


def test_not_a_number_never_passes(tmp_path):
    assert main([random_cnn_fixture(tmp_path, change=float("nan"))]) == 1


def test_undefined_values_must_agree_exactly(shared, tmp_path):
    source = shared / "parity" / "speechsplit" / "features.json"
    tensors = load_file(source.with_suffix(".safetensors"))
    key = "out/f0_norm_p226"
    voiced = int((tensors[key] > 0).nonzero()[0])
    tensors[key][voiced] += 1e-4  # far below the stated tolerance, which the mark for unvoiced frames inflates
    save_file(tensors, tmp_path / "f.safetensors")
    (tmp_path / "f.json").write_text(source.read_text())
    row = next(row for row in compare(load_fixture(tmp_path / "f.json")) if row.output == "f0_norm_p226")
    assert not row.ok and row.tolerance is not None and row.tolerance < 1e-4


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"case": "nothing_like_it"}, "unknown fixture case 'nothing_like_it'"),
        ({"config": {"sr": 16000}}, "no 'n_fft'"),
        ({"case": None}, "names no case"),
        ({"case": "whisper_encoder"}, "names no weights"),
    ],
)
def test_unusable_fixtures_are_one_line_and_status_2(tmp_path, capsys, described, message):
    assert main([random_cnn_fixture(tmp_path, **described)]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"case": "hg_g"}, "no fixture of its case (KeyError: 'upsample_rates')"),
        ({"case": "s2s", "config": [1]}, "no fixture of its case (TypeError: list indices"),
        ({"case": "rc_f", "config": {"sr": "x", "n_fft": 512, "hop": 128, "win": 512}}, "sample_rate=x"),
    ],
)
def test_fixtures_that_lack_what_their_case_reads(tmp_path, capsys, described, message):
    assert main([random_cnn_fixture(tmp_path, **described)]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_missing_files_are_one_line_and_status_2(tmp_path, capsys):
    assert main([str(tmp_path / "none.json")]) == 2
    (tmp_path / "alone.json").write_text("{}")
    assert main([str(tmp_path / "alone.json")]) == 2
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "broken.safetensors").write_bytes(b"123")
    assert main([str(tmp_path / "broken.json")]) == 2
    assert main([]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and "no such fixture" in lines[0]


def test_an_unusable_fixture_among_good_ones_still_counts(tmp_path):
    good = random_cnn_fixture(tmp_path)
    assert main([good, str(tmp_path / "none.json"), good]) == 2
