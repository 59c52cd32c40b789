import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import revoice
from revoice.audio.io import Audio, AudioError, read_audio, write_audio
from revoice.audio.loudness import loudness_db
from revoice.audio.pitch import pitch_for
from revoice.audio.speaker import speaker_encoder
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import find_checkpoint, load_checkpoint
from revoice.checkpoint.save import save
from revoice.conversion.chunks import Recording
from revoice.conversion.converter import Converter
from revoice.conversion.hearing import Hearing
from revoice.conversion.jobs import convert_files
from revoice.conversion.outputs import Job, find_sources, find_target, plan
from revoice.data.config import build
from revoice.data.read.store import MemoryStore
from revoice.errors import UserError
from tests.conftest import TINY, compose_config


@pytest.fixture(scope="module")
def clips(workplace: Path) -> dict[str, Path]:
    folder = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed"))
    return {name: folder / name / f"{name}_001_mic1.flac" for name in ("p901", "p905", "p908")}


@pytest.fixture(scope="module")
def converter(trained: Path) -> Converter:
    return revoice.load(trained)


def planned(sources: list[str], target: Path, out: Path) -> list[Job]:
    return plan(find_sources(sources, out), find_target([str(target)], out), out)


def test_output_is_as_long_and_as_loud_as_the_source(converter: Converter, clips: dict[str, Path]) -> None:
    loud = read_audio(clips["p901"])
    source = Audio(loud.samples * 0.1, loud.sample_rate)  # quiet enough that matching it never meets full scale
    out = converter.convert(source, clips["p905"])
    assert out.sample_rate == converter.spec.sample_rate
    assert abs(out.seconds - source.seconds) < 1 / converter.spec.frame_rate
    assert abs(loudness_db(out.samples, out.sample_rate) - loudness_db(source.samples, source.sample_rate)) < 1.0


def test_a_source_too_quiet_for_loudness_comes_out_as_quiet(converter: Converter, clips: dict[str, Path]) -> None:
    loud = read_audio(clips["p901"])
    faint = Audio(loud.samples * np.float32(1.5e-4 / loud.samples.std()), loud.sample_rate)  # -76 dB
    assert loudness_db(faint.samples, faint.sample_rate) == -np.inf
    out = converter.convert(faint, clips["p905"])
    assert out.samples.std() == pytest.approx(faint.samples.std(), rel=0.035)  # 0.3 dB: power and loudness, midway


def test_soft_and_loud_sentences_stay_soft_and_loud(converter: Converter, clips: dict[str, Path]) -> None:
    said = read_audio(clips["p901"], converter.spec.sample_rate).samples
    softer = np.concatenate([0.1 * said / said.std(), 0.02 * said / said.std()]).astype(np.float32)
    out = converter.convert(Audio(softer, converter.spec.sample_rate), clips["p905"]).samples
    first, second = out[: len(said)].std(), out[len(said) :].std()
    assert first / second == pytest.approx(5.0, rel=0.15)


def test_a_loud_source_is_answered_as_loudly(converter: Converter, clips: dict[str, Path]) -> None:
    said = read_audio(clips["p901"], converter.spec.sample_rate).samples
    loud = np.tanh(4 * said / np.abs(said).max()).astype(np.float32)
    out = converter.convert(Audio(loud, converter.spec.sample_rate), clips["p905"])
    assert np.abs(out.samples).max() <= 1.0
    wanted, given = (loudness_db(x, converter.spec.sample_rate) for x in (loud, out.samples))
    assert given == pytest.approx(wanted, abs=1.0)


def test_offset_and_level_of_a_reference_make_no_other_voice(converter: Converter, clips: dict[str, Path]) -> None:
    clip = read_audio(clips["p905"])
    plain, offset, faint = (
        converter.convert(clips["p901"], Audio(samples.astype(np.float32), clip.sample_rate)).samples
        for samples in (clip.samples, clip.samples + 0.05, 3e-3 * clip.samples)
    )
    for other in (offset, faint):
        assert np.corrcoef(plain, other)[0, 1] > 0.98
    pair = converter.references([clip, Audio(clip.samples * np.float32(0.1), clip.sample_rate)])
    torch.testing.assert_close(pair[0].features, pair[1].features, atol=0.02, rtol=0)


def test_samples_of_another_scale_are_refused(converter: Converter, clips: dict[str, Path]) -> None:
    clip = read_audio(clips["p905"])
    wrong = Audio(clip.samples * np.float32(32768), clip.sample_rate)
    for source, target in ((wrong, clip), (clip, wrong)):
        with pytest.raises(AudioError, match="full scale is 1"):
            converter.convert(source, target)


def test_converting_twice_gives_the_same_samples(converter: Converter, clips: dict[str, Path]) -> None:
    first, second = (converter.convert(clips["p901"], clips["p905"]).samples for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_target_decides_the_output(converter: Converter, clips: dict[str, Path]) -> None:
    a, b = (converter.convert(clips["p901"], clips[name]).samples for name in ("p905", "p908"))
    assert np.abs(a - b).max() > 1e-3


@pytest.mark.parametrize("seconds", [0.05, 0.3])
def test_very_short_clips_convert(converter: Converter, clips: dict[str, Path], seconds: float) -> None:
    tone = Audio(0.1 * np.sin(np.arange(int(seconds * 16000)) / 20).astype(np.float32), 16000)
    assert abs(len(converter.convert(tone, tone).samples) - seconds * converter.spec.sample_rate) <= 1


def test_all_that_is_heard_lies_where_the_model_computes(
    clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked on the device without memory, as there may be no other than the CPU."""
    shipped, here = revoice.load(), speaker_encoder()
    monkeypatch.setattr("revoice.conversion.hearing.speaker_encoder", lambda device: here)

    def extract(samples: torch.Tensor, spec: FeatureSpec) -> torch.Tensor:  # nothing can be computed there
        return samples.new_empty(spec.channels, spec.frames(len(samples)))

    monkeypatch.setattr("revoice.conversion.hearing.extract", extract)
    elsewhere = Hearing(shipped.model, shipped.spec, shipped.loaded.description, torch.device("meta"))
    for known in (None, *elsewhere._known(Recording(Audio(np.tile(read_audio(clips["p901"]).samples, 30), 22050)))):
        batch = elsewhere.analyzed(elsewhere.audio(clips["p901"]), known)
        where = {name: value.device.type for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
        assert {"features", "f0", "embedding"} <= where.keys()
        assert set(where.values()) == {"meta"}, where


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_converter_that_ships_speaks_on_a_gpu_as_on_the_cpu(clips: dict[str, Path]) -> None:
    here, there = (revoice.load(device=device).convert(clips["p901"], clips["p905"]) for device in ("cpu", "cuda"))
    assert len(here.samples) == len(there.samples)
    assert np.corrcoef(here.samples, there.samples)[0, 1] > 0.95


def test_any_array_of_samples_is_a_recording(converter: Converter, clips: dict[str, Path]) -> None:
    clip = read_audio(clips["p901"], converter.spec.sample_rate)
    wide = np.stack([clip.samples, clip.samples], axis=1).astype(np.float64)
    for odd in (wide[:, 0], wide[::-1, 1][::-1], clip.samples[::-1][::-1]):
        heard = converter.analyzed(converter.audio(Audio(odd, clip.sample_rate)))
        torch.testing.assert_close(heard.features, converter.analyzed(clip).features)
    backwards = Audio(clip.samples[::-1], clip.sample_rate)
    assert converter.analyzed(converter.audio(backwards)).features.dtype == torch.float32


def test_pitch_is_searched_as_it_was_for_training(trained: Path, clips: dict[str, Path]) -> None:
    loaded = load_checkpoint(trained)
    assert loaded.model.requires.fields == ("features", "f0")
    by_harvest = replace(loaded, description=replace(loaded.description, fields={"f0": {"method": "harvest"}}))
    clip = read_audio(clips["p901"], loaded.spec.sample_rate)
    found = {name: Converter(each).analyzed(clip).f0 for name, each in (("dio", loaded), ("harvest", by_harvest))}
    for method, f0 in found.items():
        assert f0 is not None
        np.testing.assert_array_equal(f0[0].numpy(), pitch_for(clip.samples, loaded.spec, method).f0)
    assert not torch.equal(found["dio"], found["harvest"])
    with pytest.raises(UserError, match="did you mean 'method'"):
        Converter(replace(loaded, description=replace(loaded.description, fields={"f0": {"methd": "dio"}})))


def test_another_search_of_the_pitch_is_taken_where_it_is_asked_for(trained: Path, clips: dict[str, Path]) -> None:
    asked = revoice.load(trained, f0="harvest")
    clip = asked.audio(clips["p901"])
    known = asked.analyzed(clip).f0
    assert known is not None and asked.describe()["f0"]["method"] == "harvest"
    np.testing.assert_array_equal(known[0].numpy(), pitch_for(clip.samples, asked.spec, "harvest").f0)
    assert revoice.load(trained).describe()["f0"]["method"] == "dio"
    with pytest.raises(UserError, match="is not told the pitch: leave f0= out"):
        revoice.load("random_cnn", f0="network")


def test_features_of_training_and_conversion_are_equal(workplace: Path, trained: Path, converter: Converter) -> None:
    """The mel that the shards hold is the mel that a reference clip gets, up to the rounding of storage."""
    config = compose_config("train", "model=adain_vc_small", "debug=tiny", *TINY, folder=workplace)
    prepared = build(config["data"]).prepare(
        converter.spec, ["features"], Path(config["paths"]["prepared_dir"]), progress=False
    )
    store = MemoryStore(prepared, ("train",), ("features",))
    for position in store.positions("train")[:3]:
        row = store.rows[position]
        served = converter.references([prepared.manifest.file(row)])[0].features[0]
        stored = store.utterance("features", int(position))
        torch.testing.assert_close(served.half().float(), stored.float(), atol=0, rtol=0)


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_saved_models_convert_alike(suffix: str, converter: Converter, clips: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    save(converter.model, converter.loaded.description, path)
    again = revoice.load(path)
    expected = converter.convert(clips["p901"], clips["p905"]).samples
    np.testing.assert_array_equal(again.convert(clips["p901"], clips["p905"]).samples, expected)


def test_every_checkpoint_is_plain_tensors(trained: Path) -> None:
    for name in ("best.ckpt", "last.ckpt"):
        content = torch.load(trained / "checkpoints" / name, weights_only=True)
        assert content["revoice"]["model"] == "adain_vc"


@pytest.mark.slow
def test_conversion_needs_no_lightning_and_no_hydra(trained: Path, clips: dict[str, Path], tmp_path: Path) -> None:
    program = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('pytorch_lightning', 'lightning_fabric', 'lightning', 'hydra', 'omegaconf', 'wandb'):
            raise ImportError(name + ' is not here')
sys.meta_path.insert(0, Refuse())
import revoice
out = revoice.load({str(trained)!r}).convert({str(clips["p901"])!r}, {str(clips["p905"])!r})
assert len(out.samples) > 0
import revoice.training.loggers  # as an evaluation does, with a logger or without
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_long_files_are_chunked_and_short_ones_are_not(
    converter: Converter, clips: dict[str, Path], tmp_path: Path
) -> None:
    said = read_audio(clips["p901"], 16000).samples
    long = 0.1 * np.tile(said, int(45 * 16000 / len(said)) + 1)[: 45 * 16000]
    write_audio(tmp_path / "long.wav", long, 16000)
    assert not Recording(tmp_path / "long.wav").whole and Recording(clips["p901"]).whole
    out = converter.convert(tmp_path / "long.wav", clips["p905"])
    assert abs(out.seconds - 45) < 0.01
    assert abs(loudness_db(out.samples, out.sample_rate) - loudness_db(long, 16000)) < 1.0
    windows = out.samples[: len(out.samples) // 2205 * 2205].reshape(-1, 2205)
    energy = np.sqrt((windows**2).mean(1))
    joints = energy[190:200]  # around the first cross-fade at 19.5 s: neither a hole nor a bump
    assert joints.max() < 3 * energy.max() / 2 and np.isfinite(out.samples).all()


def test_a_long_file_keeps_its_melody_across_chunks(
    converter: Converter, clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every chunk is moved by the same interval, also where one half of the file is higher than the other."""
    rate = converter.spec.sample_rate
    time = np.arange(50 * rate) / rate
    hz = np.where(time < 25, 110.0, 180.0)
    phase = 2 * np.pi * np.cumsum(hz) / rate
    write_audio(tmp_path / "long.wav", 0.05 * sum(np.sin(k * phase) / k for k in range(1, 12)), rate)
    asked: list[np.ndarray] = []
    vocode = converter.vocode

    def listen(features: torch.Tensor, f0: torch.Tensor | None, like: torch.Tensor | None) -> np.ndarray:
        assert f0 is not None
        asked.append(f0[f0 > 0].numpy())
        return vocode(features, f0)

    monkeypatch.setattr(converter, "vocode", listen)
    converter.convert(tmp_path / "long.wav", clips["p905"])
    assert len(asked) == 3
    low, high = float(np.median(asked[0])), float(np.median(asked[-1]))
    assert high / low == pytest.approx(180 / 110, rel=0.02)


def test_a_folder_is_converted_and_broken_files_are_skipped(
    trained: Path, clips: dict[str, Path], tmp_path: Path
) -> None:
    converter = revoice.load(trained, adapt=1)
    inside = tmp_path / "in" / "deep"
    inside.mkdir(parents=True)
    (inside / "good.flac").write_bytes(clips["p901"].read_bytes())
    (tmp_path / "in" / "text.wav").write_text("not audio")
    (tmp_path / "in" / "empty.wav").write_bytes(b"")
    jobs = planned([str(tmp_path / "in")], clips["p905"], tmp_path / "out")
    result = convert_files(
        converter, jobs, find_target([str(clips["p905"])], tmp_path), converter.controls({"strength": 0.5})
    )
    assert [p.relative_to(tmp_path / "out").as_posix() for p in result.written] == ["deep/good_to_p905_001_mic1.wav"]
    assert len(result.skipped) == 2 and len(jobs) == 3
    record = json.loads(result.written[0].with_suffix(".json").read_text())
    assert record["adaptation"]["steps"] == 1
    assert record["controls"] == {"strength": 0.5, "semitones": 0.0, "pitch_range": 1.0, "tone": 1.0}
    assert record["model"] == "adain_vc"
    assert record["checkpoint_sha256"] == converter.loaded.sha256


def test_globs_and_names_that_look_like_globs(clips: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a.flac", "b.flac", "[1].flac"):
        (tmp_path / name).write_bytes(clips["p901"].read_bytes())
    out = tmp_path / "o"
    assert len(planned([str(tmp_path / "*.flac")], clips["p905"], out)) == 3
    assert [j.source.name for j in planned([str(tmp_path / "[1].flac")], clips["p905"], out)] == ["[1].flac"]
    with pytest.raises(UserError, match="no audio file"):
        planned([str(tmp_path / "*.ogg")], clips["p905"], out)
    with pytest.raises(UserError, match="give a folder"):
        planned([str(tmp_path)], clips["p905"], tmp_path / "one.wav")


def test_two_sources_of_one_name_do_not_overwrite_each_other(clips: dict[str, Path], tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.flac").write_bytes(clips["p901"].read_bytes())
    jobs = planned([str(tmp_path / "x" / "a.flac"), str(tmp_path / "y" / "a.flac")], clips["p905"], tmp_path / "out")
    assert len({job.out for job in jobs}) == 2


def test_wrong_checkpoints_are_refused_in_one_line(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.ckpt").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    torch.save({"revoice": {"format": 99}, "state_dict": {}}, tmp_path / "future.ckpt")
    content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    content["state_dict"].pop("model.decoder.conv_out.weight")
    torch.save(content, tmp_path / "lacking.ckpt")
    whole = (trained / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    for name, words in [
        ("empty", "no checkpoint in this folder"), ("missing.ckpt", "does not exist"),
        ("text.ckpt", "not a readable checkpoint"), ("text.safetensors", "not a readable safetensors"),
        ("other.ckpt", "import_checkpoint"), ("future.ckpt", "format 99"),
        ("lacking.ckpt", "do not fit"), ("cut.ckpt", "not a readable checkpoint"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=words) as error:
            load_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)


def test_a_run_folder_means_its_best_checkpoint(trained: Path) -> None:
    assert find_checkpoint(trained) == trained / "checkpoints" / "best.ckpt"


def test_a_vocoder_of_other_features_is_refused(converter: Converter) -> None:
    from revoice.audio.presets import load_preset
    from revoice.vocoders.griffin_lim import GriffinLim

    with pytest.raises(UserError, match="hop"):
        Converter(converter.loaded, GriffinLim(load_preset("adain_24k")))


def test_a_description_survives_its_file_format() -> None:
    description = Description(model="m", arguments={"a": (1, 2)}, features={"hop": 3}, trim_db=30.0, speakers=["p1"])
    assert Description.from_dict(description.to_dict()).arguments == {"a": [1, 2]}
