"""Graphs say what torch says, at any length, and a program without torch converts with them."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from revoice.audio.features import extract
from revoice.audio.pitch import pitch_for
from revoice.audio.pitch_network import pitch_network
from revoice.audio.presets import load_preset
from revoice.audio.scale import to_log_magnitude
from revoice.audio.speaker import SpeakerEncoder
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded, load_checkpoint
from revoice.checkpoint.save import require_free, save
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.interop.onnx import graph_of, left_out, write_onnx
from revoice.interop.onnx.hearing import Identity
from revoice.interop.onnx.pitch import search_graph
from revoice.models.base import MODELS
from revoice.nn.tone import tone_of
from revoice.vocoders.base import VOCODERS
from tests.conversion.untrusted_helpers import SPEC, command, refusal, small

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
ROOT = Path(__file__).resolve().parents[2]
VOCODER: dict[str, dict[str, Any]] = {
    "vocos": {"dim": 8, "hidden": 8, "layers": 1},
    "hifigan": {"channels": 16, "block_kernels": [3], "dilations": [[1, 2]]},
    "waveglow": {"channels": 4, "layers": 1, "flows": 2, "upsample": "linear"},
    "source_filter": {"dim": 8, "hidden": 8, "layers": 1},
}


SIZES = {
    "recsyn": {
        "content": {"width": 8, "heads": 2, "layers": 1}, "neck": {"hidden": 8, "channels": 4},
        "decoder": {"channels": 16, "hidden": 32, "blocks": 2, "voice": 16, "pitch_bins": 8},
    },
    "speechsplit": {
        "decoder": {"hidden": 8, "layers": 1}, "converter": {"hidden": 8, "layers": 1}, "encoders": {
            name: {"channels": 16, "convolutions": 1, "hidden": 2, "layers": 1}
            for name in ("content", "rhythm", "pitch")
        },
    },
}  # fmt: skip
ASKED = {
    "recsyn": {"source_waveform", "source_f0", "target_features", "target_f0", "target_embedding"},
}


def converter(name: str, preset: str, **more: Any) -> Loaded:
    torch.manual_seed(0)
    spec = load_preset(preset)
    facts = {"n_features": spec.channels, "sample_rate": spec.sample_rate, "hop": spec.hop}
    about = Description(model=name, arguments={**facts, **SIZES[name], **more}, features=spec.to_dict(), trim_db=30.0)
    return Loaded(MODELS.build(name, about.arguments).eval(), spec, about, None, "")


def vocoder(name: str, preset: str = "mel_22k") -> Loaded:
    torch.manual_seed(0)
    spec = load_preset(preset)
    model: Any = VOCODERS.build(name, VOCODER[name], {"spec": spec}).eval()
    for flow in getattr(model, "flows", ()):
        torch.nn.init.normal_(flow.coupling.last.weight, std=0.1)
    if name == "source_filter":
        torch.nn.init.normal_(model.out.weight, std=0.05)
    about = Description(model=name, arguments=VOCODER[name], features=spec.to_dict(), kind="vocoder")
    return Loaded(model, spec, about, None, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "preset"),
    [("vocos", "mel_22k"), ("vocos", "mel_24k100"), ("hifigan", "mel_22k"), ("waveglow", "mel_22k"),
     ("source_filter", "mel_22k"), ("source_filter", "mel_24k100")],
)  # fmt: skip
def test_vocoders(name: str, preset: str, tmp_path: Path) -> None:
    loaded, out = vocoder(name, preset), tmp_path / "v.onnx"
    assert write_onnx(loaded, loaded.description, out) < 1e-4
    features = torch.randn(1, loaded.spec.channels, 95)
    inputs = {"features": features.numpy()}
    model: Any = loaded.model
    f0 = torch.where(torch.rand(1, 95) > 0.3, 140.0, 0.0)
    expected = model(features, f0=f0)
    if name == "source_filter":
        drawn = torch.randn(loaded.spec.samples(95), generator=torch.Generator().manual_seed(0))
        told = the_example().harmonics(f0[0].numpy(), loaded.spec.to_dict())
        noise = np.zeros_like(told)
        noise[: len(drawn)] = drawn.numpy()
        inputs |= {"f0": f0.numpy(), "harmonics": told[None], "noise": noise[None]}
    if name == "waveglow":
        drawn = torch.randn(95 * 32, 8, generator=torch.Generator().manual_seed(0)).T * model.sigma
        inputs["noise"] = drawn[None].numpy()
    found = onnxruntime.InferenceSession(out).run(None, inputs)[0]
    assert np.abs(found - expected.detach().numpy()).max() < 1e-4 * float(expected.detach().abs().max())
    about = json.loads((tmp_path / "v.json").read_text())
    assert about["kind"] == "vocoder" and about["onnx"]["output"] == "waveform"
    assert dict(np.load(tmp_path / "v.npz"))["window"].shape == (loaded.spec.n_fft,)


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loaded, Path]:
    """A small converter that hears waveforms, and its graph."""
    loaded, out = converter("recsyn", "mel_22k"), tmp_path_factory.mktemp("speaking") / "voice.onnx"
    assert write_onnx(loaded, loaded.description, out) < 1e-4
    return loaded, out


def as_torch_converts(loaded: Loaded, graph: Path | bytes, frames: int) -> None:
    """A graph against the model itself, on clips of these many frames and some more."""
    made: dict[str, torch.Tensor] = {}
    draws, hop = torch.Generator().manual_seed(7), loaded.spec.hop
    for side, count in (("source", frames), ("target", frames // 2 + 97)):
        wave = 0.1 * torch.randn(1, count * hop, generator=draws)
        made |= {
            f"{side}_features": torch.rand(1, loaded.spec.channels, count, generator=draws),
            f"{side}_f0": 150 + 60 * torch.rand(1, count, generator=draws) * torch.randn(1, count).sign(),
            f"{side}_embedding": torch.randn(1, 256, generator=draws), f"{side}_waveform": wave,
        }  # fmt: skip
    clips = [
        Batch.of_clip(**{name.removeprefix(side): each[0] for name, each in made.items() if name.startswith(side)})
        for side in ("source_", "target_")
    ]
    model: Any = loaded.model
    expected = model.convert(clips[0], [clips[1]], model.typed_controls({})).numpy()
    session = onnxruntime.InferenceSession(graph)
    assert {each.name for each in session.get_inputs()} == ASKED[model.name]
    found = session.run(None, {name: made[name].numpy() for name in ASKED[model.name]})[0]
    assert found.shape == expected.shape == (1, loaded.spec.channels, frames)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize("frames", [200, 777, 2583])
def test_recognition_synthesis_from_the_waveform(frames: int, speaking: tuple[Loaded, Path]) -> None:
    as_torch_converts(*speaking, frames)
    about = json.loads(speaking[1].with_suffix(".json").read_text())["onnx"]
    assert about["longest"] == 2583 and about["embedding"]["graph"] == "voice.embedding.onnx"


@pytest.mark.slow
def test_the_converter_that_ships(tmp_path: Path) -> None:
    loaded, out = load_checkpoint("default"), tmp_path / "voice.onnx"
    assert write_onnx(loaded, loaded.description, out) < 1e-4
    for frames in (200, 2583):
        as_torch_converts(loaded, out, frames)


def test_who_speaks_is_told_as_resemblyzer_tells_it() -> None:
    encoder = SpeakerEncoder(vad=False)
    for seconds, level in ((1.0, 1.0), (1.3, 1.0), (1.97, 0.01), (3.4, 1.0), (5.05, 1.0)):
        wave = (level * speech(seconds, 16000, 170)).astype(np.float32)
        found = Identity(16000)(torch.from_numpy(wave)[None])
        assert torch.allclose(found[0], encoder.embed([wave])[0], atol=1e-5), seconds


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model and a small vocoder as graphs, by the command."""
    folder = tmp_path_factory.mktemp("graphs")
    model, about = small()
    save(model, about, folder / "model.ckpt")
    speaking = vocoder("vocos")
    save(speaking.model, speaking.description, folder / "vocoder.ckpt")
    for name in ("model", "vocoder"):
        command("export", f"ckpt={folder / name}.ckpt", f"out={folder / name}.onnx")
    return folder


def speech(seconds: float, rate: int, hz: float) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    return 0.2 * sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 12)) * (1 + 0.5 * np.sin(9 * time))


@pytest.mark.slow
@pytest.mark.parametrize("speaks", ["griffin_lim", "vocoder"])
def test_the_example_converts_without_torch(speaks: str, exported: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speech(1.5, 16000, 120), 16000)
    soundfile.write(tmp_path / "b.wav", speech(0.3, 22050, 210), 22050)
    program = (
        "import runpy, sys; sys.modules.update(dict.fromkeys(('torch', 'revoice', 'scipy', 'librosa'))); "
        f"sys.argv[0] = 'x'; runpy.run_path({str(ROOT / 'examples' / 'onnx_convert.py')!r}, run_name='__main__')"
    )
    arguments = [str(exported / "model.onnx"), *(str(tmp_path / name) for name in ("a.wav", "b.wav", "out.wav"))]
    more = ["--vocoder", str(exported / "vocoder.onnx")] if speaks == "vocoder" else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, *more], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wave, rate = soundfile.read(tmp_path / "out.wav")
    assert (
        rate == 22050 and abs(len(wave) / rate - 1.5) < 0.05 and np.isfinite(wave).all() and np.abs(wave).max() > 1e-4
    )


@pytest.mark.slow
def test_the_example_converts_waveforms_longer_than_a_window(speaking: tuple[Loaded, Path], tmp_path: Path) -> None:
    long = np.concatenate([speech(6.0, 16000, hz) for hz in (110, 120, 130, 115, 125, 118)])
    soundfile.write(tmp_path / "a.wav", long, 16000)
    soundfile.write(tmp_path / "b.wav", speech(0.3, 22050, 210), 22050)
    program = the_example()
    heard: list[np.ndarray] = []
    program.Features.griffin_lim = lambda self, features: (
        heard.append(features) or np.repeat(features.mean(0), self.spec["hop"])  # quick
    )
    arguments = [str(speaking[1]), *(str(tmp_path / name) for name in ("a.wav", "b.wav", "out.wav"))]
    program.main(arguments)
    wave, rate = soundfile.read(tmp_path / "out.wav")
    assert rate == 22050 and abs(len(wave) / rate - 36.0) < 0.05 and np.isfinite(wave).all()
    assert np.sqrt(np.mean(wave**2)) == pytest.approx(np.sqrt(np.mean(long**2)), rel=0.02)
    given = np.linspace(-0.5, 0.5, speaking[0].spec.channels)[:, None]
    program.tone = lambda *of: given
    program.main(arguments)
    program.tone = lambda *of: 0 * given
    program.main(arguments)
    assert np.abs(heard[1] - heard[2] - given).max() < 1e-4 and np.abs(heard[0] - heard[2]).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("bounds", [None, (-8.0, -1.0)])
def test_the_example_gives_the_tone_of_the_target(
    speaking: tuple[Loaded, Path], bounds: tuple[float, float] | None
) -> None:
    (loaded, graph), program = speaking, the_example()
    about = json.loads(graph.with_suffix(".json").read_text())
    about["features"]["clip"] = bounds
    spec = replace(loaded.spec, clip=bounds)
    features = program.Features(about["features"], dict(np.load(graph.with_suffix(".npz"))))
    wave = speech(2.0, 22050, 180)[: 170 * spec.hop + 100]
    target = program.clip(wave, "target", about, features, graph)
    source = program.clip(wave, "source", about, features, graph)
    copy = torch.from_numpy(program.converted(graph, about, wave, source, target))
    heard = extract(torch.from_numpy(wave.astype(np.float32)), spec)
    expected = tone_of([(heard[None], copy[..., : heard.shape[1]])], spec)  # without the frame of padding
    made = torch.cat([copy, copy.flip(2)] * 4, dim=2)
    assert expected is not None
    given = expected.of(to_log_magnitude(made, spec)[0])
    assert given.abs().max() > 0.1 and expected.lacking.abs().max() > 0.1
    found = program.tone(graph, about, wave, target, features, made.numpy())
    assert np.abs(found - given.numpy()).max() < 1e-3
    assert not program.tone(graph, {**about, "onnx": {}}, wave, target, features, made.numpy()).any()


def test_pieces_of_the_example_meet_at_quiet_places() -> None:
    module, spec = the_example(), SPEC.to_dict()
    frames, wave = 3000, np.ones(3000 * 256) * (-1.0) ** np.arange(3000 * 256)
    wave[1450 * 256 : 1470 * 256] *= 0.01
    assert module.cuts(wave, spec, frames, None) == module.cuts(wave, spec, frames, 3000) == [0, 3000]
    first, middle, last = module.cuts(wave, spec, frames, 2583)
    assert (first, last) == (0, 3000) and 1450 <= middle < 1470


def the_example() -> Any:
    found = importlib.util.spec_from_file_location("onnx_convert", ROOT / "examples" / "onnx_convert.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "preset", ["mel_22k", "mel_22k_tacotron", "mel_24k100", "adain_24k", "linear_16k", "log1p_22k"]
)
def test_the_examples_features_are_ours(preset: str) -> None:
    from revoice.interop.onnx.write import _numbers

    module = the_example()
    spec = load_preset(preset)
    features = module.Features(json.loads(json.dumps(spec.to_dict())), _numbers(spec))
    wave = speech(0.7, spec.sample_rate, 150) + 1e-3 * np.random.default_rng(0).normal(size=int(0.7 * spec.sample_rate))
    ours = extract(wave.astype(np.float32), spec).numpy()
    theirs = features.analyze(wave)
    assert theirs.shape == ours.shape and np.abs(theirs - ours).max() < 1e-3 * np.abs(ours).max()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["mel_22k", "stft_16k"])
def test_the_search_of_the_pitch_is_a_graph(preset: str, tmp_path: Path) -> None:
    spec = load_preset(preset)
    graph = search_graph(pitch_network(), spec)
    content = graph.traced().SerializeToString()
    assert graph.distance(content) < 1e-4
    (tmp_path / "v.f0.onnx").write_bytes(content)
    wave = speech(1.3, spec.sample_rate, 150) + 1e-3 * np.random.default_rng(0).normal(size=int(1.3 * spec.sample_rate))
    ours = pitch_for(wave, spec, "network").f0
    about = {"onnx": {"f0": {"graph": "v.f0.onnx", **graph.about()}}, "features": spec.to_dict()}
    theirs = the_example().pitch(wave, len(ours), tmp_path / "v.onnx", about)
    both = (ours > 0) & (theirs > 0)
    assert both.mean() > 0.8 and ((ours > 0) == (theirs > 0)).mean() > 0.97
    assert np.abs(1200 * np.log2(theirs[both] / ours[both])).max() < 10
    assert np.median(np.abs(theirs[both] - 150)) < 3


def test_whatever_the_exporter_says_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("revoice.interop.onnx.write.graph_of", lambda *_: {}["standardizer.mean"])
    loaded = vocoder("vocos")
    with pytest.raises(UserError, match="no graph of vocos can be made"):
        write_onnx(loaded, loaded.description, tmp_path / "v.onnx")


@pytest.mark.slow
def test_what_has_no_graph(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no graph of random_cnn, which searches"):
        graph_of(MODELS.get("random_cnn")(SPEC.channels), SPEC)
    spec = load_preset("complex_16k")
    with pytest.raises(UserError, match="no graph of anonymizer, which is no network, but signal processing"):
        graph_of(MODELS.get("anonymizer")(spec.channels, spec.sample_rate, spec.hop), spec)
    codegan = MODELS.get("codegan")
    with pytest.raises(UserError, match="no graph of codegan without the model of its codes"):
        graph_of(codegan(80, 16000, 256, ("sad", "glad")), SPEC)
    lone = converter("speechsplit", "speechsplit_16k", lacks="generator")
    with pytest.raises(UserError, match="no graph of speechsplit without its generator"):
        graph_of(lone.model, lone.spec)
    said = refusal(exported, lambda: command("export", f"ckpt={exported / 'model.ckpt'}", "out=a.onnx", "half=true"))
    assert "an .onnx file has 32 bits" in said
    (tmp_path / "model.onnx").write_text("mine")
    taken = f"out={tmp_path / 'model.onnx'}"
    assert "would be replaced" in refusal(exported, lambda: command("export", f"ckpt={exported / 'model.ckpt'}", taken))


def test_settings_that_a_graph_lacks_are_named() -> None:
    model: Any = vocoder("waveglow").model
    assert left_out(model) == []
    model.set_speaking({"denoise": 0.1})
    assert left_out(model) == ["denoise=0.1"] and left_out(small()[0]) == []


@pytest.mark.slow
def test_the_example_draws_noise_and_refuses_other_features(tmp_path: Path) -> None:
    loaded, out = vocoder("waveglow"), tmp_path / "w.onnx"
    write_onnx(loaded, loaded.description, out)
    module, spec = the_example(), loaded.spec.to_dict()
    converted = np.random.default_rng(0).normal(size=(1, 80, 70)).astype(np.float32)
    wave = module.speak(str(out), converted, spec)
    assert wave.shape == (loaded.spec.samples(70),) and np.isfinite(wave).all()
    with pytest.raises(SystemExit, match="other features than the model's: fmax differ"):
        module.speak(str(out), converted, spec | {"fmax": 7000.0})


def test_the_example_leaves_a_melody_where_a_voice_has_no_level() -> None:
    module, hums, breathes = the_example(), np.full((1, 9), 200.0), np.zeros((1, 9))
    kept = module.melody({"source_f0": hums}, {"target_f0": breathes})
    assert kept.tolist() == [200.0] * 9
    assert module.melody({"source_f0": hums}, {"target_f0": hums / 2}) == pytest.approx(np.full(9, 100.0))


@pytest.mark.slow
def test_the_example_tells_the_pitch_to_a_vocoder_that_asks(tmp_path: Path) -> None:
    loaded, out = vocoder("source_filter"), tmp_path / "s.onnx"
    write_onnx(loaded, loaded.description, out)
    module, spec = the_example(), loaded.spec.to_dict()
    converted = np.random.default_rng(0).normal(size=(1, 80, 70)).astype(np.float32) - 4
    wave = module.speak(str(out), converted, spec, np.full(70, 150.0))
    assert wave.shape == (loaded.spec.samples(70),) and np.isfinite(wave).all()
    with pytest.raises(SystemExit, match="asks for the pitch, which this model is not told"):
        module.speak(str(out), converted, spec)


def test_nothing_beside_a_graph_is_replaced(tmp_path: Path) -> None:
    numbers = tmp_path / "a.npz"
    numbers.write_text("mine")
    assert "a.npz: is there" in refusal(tmp_path, lambda: require_free(tmp_path / "a.onnx"))
    model, about = small()
    save(model, about, tmp_path / "b.safetensors")
    assert "b.json: belongs to b.safetensors" in refusal(tmp_path, lambda: require_free(tmp_path / "b.onnx"))
    require_free(tmp_path / "b.safetensors")
    (tmp_path / "b.safetensors").rename(tmp_path / "b.onnx")
    numbers.rename(tmp_path / "b.npz")
    require_free(tmp_path / "b.onnx")  # an earlier one
    assert "belongs to b.onnx" in refusal(tmp_path, lambda: require_free(tmp_path / "b.safetensors"))
