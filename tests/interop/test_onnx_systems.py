"""Graphs of every kind of model against what the model itself makes of the same clips, at lengths they never saw."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from revoice.audio.presets import load_preset
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded
from revoice.checkpoint.save import require_free
from revoice.data.read.batch import Batch
from revoice.interop.onnx import graph_of, write_onnx
from revoice.interop.onnx.graph import Graph
from revoice.interop.onnx.write import _numbers
from revoice.models.base import MODELS
from revoice.nn.pitch_classes import classes, expected, hertz, normalized
from tests.conversion.untrusted_helpers import SPEC, small
from tests.interop.test_onnx import SIZES, converter, the_example

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
WHISPER = load_preset("whisper_16k")
EMOTIONS = ("sad", "glad", "calm")
HEARS = {"content": {"width": 8, "heads": 2, "layers": 1}, "resample": "nothing"}


def clip(spec: FeatureSpec, frames: int, seed: int) -> Batch:
    """A clip of noise, voiced here and there."""
    draws = torch.Generator().manual_seed(seed)
    voiced = torch.rand(frames, generator=draws) < 0.7
    waveform = 0.1 * torch.randn(frames * spec.hop, generator=draws)
    return Batch.of_clip(
        torch.rand(spec.channels, frames, generator=draws), waveform=waveform,
        f0=(120 + 60 * torch.rand(frames, generator=draws)) * voiced, embedding=torch.randn(256, generator=draws),
    )  # fmt: skip


def run(graph: Path | bytes, **given: torch.Tensor | None) -> np.ndarray:
    """What onnxruntime makes of inputs, of which some may not be asked for."""
    session = onnxruntime.InferenceSession(graph)
    names = {each.name for each in session.get_inputs()}
    return session.run(None, {name: given[name].numpy() for name in names})[0]  # type: ignore[union-attr]


def require_near(found: np.ndarray, expected: torch.Tensor) -> None:
    expected = expected.detach()
    assert found.shape == expected.shape
    assert np.abs(found - expected.numpy()).max() < 1e-4 * float(expected.abs().max())
    assert float(expected.std()) > 0


def traced(graph: Graph) -> bytes:
    return graph.traced().SerializeToString()


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loaded, Path]:
    """A small SpeechSplit that knows a corpus, and its graphs."""
    loaded, out = (
        converter("speechsplit", "speechsplit_16k", relative="corpus"),
        tmp_path_factory.mktemp("s") / "s.onnx",
    )
    model: Any = loaded.model
    model.corpus_statistics.copy_(torch.tensor([math.log(140.0), 0.2]))
    assert write_onnx(loaded, loaded.description, out) < 1e-4
    return loaded, out


@pytest.mark.slow
@pytest.mark.parametrize("aspects", [(), ("timbre",), ("rhythm", "timbre"), ("pitch",), ("rhythm", "pitch")])
@pytest.mark.parametrize(("ours", "theirs"), [(77, 130), (301, 243)])
def test_aspects_are_inputs(aspects: tuple[str, ...], ours: int, theirs: int, split: tuple[Loaded, Path]) -> None:
    model, spec = split[0].model, split[0].spec
    told = torch.tensor([json.loads(split[1].with_suffix(".json").read_text())["onnx"]["contour"]["corpus"]])
    source, target = clip(spec, ours, 0), clip(spec, theirs, 1)
    rhythm = target.features if "rhythm" in aspects else source.features
    contours = [classes(normalized(each.f0, told)) for each in (source, target)]  # type: ignore[arg-type]
    if "pitch" in aspects:  # the target's contour in the source's timing
        stretch = torch.nn.functional.interpolate(contours[1][None].float(), ours, mode="nearest-exact")
        contours[1] = stretch[0].long()
        logits = run(split[1].with_suffix(".pitch.onnx"), rhythm_features=source.features, pitch=contours[1])
        assert logits.shape == (1, 257, ours)
        contours[1] = classes(normalized(hertz(expected(torch.from_numpy(logits)), told), told))
    pitch = contours["pitch" in aspects]
    voice = target.embedding if "timbre" in aspects else source.embedding
    found = run(split[1], content_features=source.features, pitch=pitch, rhythm_features=rhythm, voice_embedding=voice)
    require_near(found, model.convert(source, [target], _controls(model, aspects)))  # type: ignore[operator]


def _controls(model: Any, aspects: tuple[str, ...]) -> Any:
    return model.typed_controls({"aspects": aspects})


@pytest.mark.slow
def test_speechsplit_says_what_a_program_needs(split: tuple[Loaded, Path], tmp_path: Path) -> None:
    about = json.loads(split[1].with_suffix(".json").read_text())["onnx"]
    assert about["contour"] == {
        "relative": "corpus", "corpus": [pytest.approx(math.log(140)), pytest.approx(0.2)], "reach": 4.0, "least": 0.02,
    }  # fmt: skip
    assert about["integers"] == {"pitch": 257} and about["embedding"]["graph"] == "s.embedding.onnx"
    assert about["pitch"] == {
        "graph": "s.pitch.onnx", "shortest": 64, "output": "logits", "integers": {"pitch": 257},
        "inputs": {"rhythm_features": [1, 80, "1 * rhythm_frames"], "pitch": [1, "1 * pitch_frames"]},
    }  # fmt: skip
    (tmp_path / "a.pitch.onnx").write_text("mine")
    with pytest.raises(Exception, match="a.pitch.onnx: is there"):
        require_free(tmp_path / "a.onnx")


@pytest.mark.slow
def test_speechsplit_of_a_table_of_voices_that_hears_a_recognizer() -> None:
    model: Any = converter("speechsplit", "speechsplit_16k", voice="speaker", n_speakers=3, **HEARS).model
    spec = load_preset("speechsplit_16k")
    model.speaker_statistics.copy_(torch.tensor([[5.0, 0.2], [4.8, 0.1], [5.3, -1.0]]))
    graph = graph_of(model, spec)
    assert graph.facts["contour"]["speakers"] == [[5.0, 0.2], [4.8, 0.1], None]
    source, target = clip(spec, 203, 0), Batch.of_clip(torch.zeros(80, 0), speaker=torch.tensor(1))
    told = model.speaker_statistics[1:2]
    own = model.of_voice(source)
    assert source.f0 is not None
    moved = told[:, :1] + (source.f0.clamp(min=1e-3).log() - own[:, :1]) * told[:, 1:] / own[:, 1:]
    pitch = classes(normalized(moved.exp() * (source.f0 > 0), told))
    found = run(
        traced(graph), content_waveform=source.waveform, pitch=pitch, rhythm_features=source.features,
        voice_speaker=torch.tensor([1]),
    )  # fmt: skip
    require_near(found, model.convert(source, [target], _controls(model, ("timbre",))))


def codegan(stands_on: str, spec: FeatureSpec, rewritten: tuple[str, ...], **more: Any) -> Any:
    torch.manual_seed(0)
    facts = {"n_features": spec.channels, "sample_rate": spec.sample_rate, "hop": spec.hop}
    codes = {"model": stands_on, "arguments": {**facts, **SIZES[stands_on], **more}}
    size = {"width": 8, "blocks": 1, "residual": stands_on == "recsyn", "bends": stands_on == "recsyn"}
    sizes = {"codes": codes, "rewritten": rewritten, "generator": size}
    made: Any = MODELS.build("codegan", {**facts, "emotions": EMOTIONS, **sizes}).eval()
    torch.nn.init.normal_(made.generator.up[-1].weight, std=0.2)  # a residual one changes nothing at first
    return made


@pytest.mark.slow
def test_emotions_of_a_converter_s_melody_and_loudness(tmp_path: Path) -> None:
    model = codegan("recsyn", SPEC, ("pitch", "energy"))
    graph = graph_of(model, SPEC)
    content = traced(graph)
    for frames, emotion in ((99, 0), (402, 2)):
        source, target = clip(SPEC, frames, 0), clip(SPEC, 181, 1)
        given = {
            f"{side}_{name}": getattr(each, name) for side, each in (("source", source), ("target", target))
            for name in ("features", "f0", "waveform", "embedding")
        }  # fmt: skip
        found = run(content, **given, emotion=torch.tensor([emotion]))
        controls = model.typed_controls({"emotion": EMOTIONS[emotion]})
        require_near(found, model.convert(source, [target], controls))

    (tmp_path / "v.onnx").write_bytes(content)
    about = Description(model="codegan", arguments={}, features=SPEC.to_dict(), trim_db=30.0).to_dict()
    (tmp_path / "v.json").write_text(json.dumps({**about, "onnx": graph.about()}))
    np.savez(tmp_path / "v.npz", **_numbers(SPEC))
    wave = 0.1 * np.random.default_rng(0).normal(size=22050)
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, wave, 22050)
    program = the_example()
    program.embedding = lambda *_: np.ones((1, 256), np.float32)
    program.pitch = lambda wave, frames, *_: np.full(frames, 150, np.float32)
    program.Features.griffin_lim = lambda self, features: np.repeat(features.mean(0), self.spec["hop"])
    files = [str(tmp_path / name) for name in ("v.onnx", "a.wav", "b.wav", "out.wav")]
    program.main([*files, "--emotion", "glad"])
    assert np.isfinite(soundfile.read(tmp_path / "out.wav")[0]).all()
    with pytest.raises(SystemExit, match="expected --emotion with one of sad, glad, calm"):
        program.main(files)


@pytest.mark.slow
def test_the_example_says_which_graphs_it_does_not_feed(split: tuple[Loaded, Path]) -> None:
    said = "s.onnx asks for content_features, pitch, rhythm_features, voice_embedding: this example feeds graphs of"
    with pytest.raises(SystemExit, match=said):
        the_example().main([str(split[1]), "a.wav", "b.wav", "out.wav"])


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, HEARS], ids=["mel", "recognizer"])
def test_emotions_of_speechsplit_s_codes(more: dict[str, Any]) -> None:
    spec = load_preset("speechsplit_16k")
    model = codegan("speechsplit", spec, ("pitch", "rhythm"), relative="corpus", **more)
    graph = graph_of(model, spec)
    assert graph.facts["emotions"] == list(EMOTIONS) and graph.facts["contour"]["relative"] == "corpus"
    assert "embedding" in graph.beside and graph.integers == {"emotion": 3, "pitch": 257}
    source = clip(spec, 213, 0)
    assert source.f0 is not None
    pitch = classes(normalized(source.f0, model.coder.of_corpus(1)))
    found = run(
        traced(graph), source_features=source.features, source_waveform=source.waveform, pitch=pitch,
        target_embedding=source.embedding, emotion=torch.tensor([1]),
    )  # fmt: skip
    require_near(found, model.convert(source, [], model.typed_controls({"emotion": "glad"})))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [{"channels": 2}, {"channels": 1}, {"channels": 3, "faithful": True}])
def test_pix2pix(sizes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    spec = load_preset("stft_16k1024")
    model: Any = MODELS.build("pix2pix", {"n_features": spec.channels, "widths": [4, 8, 8], **sizes}).eval()
    torch.nn.init.normal_(model.network.last.weight, std=0.1)
    graph = traced(graph_of(model, spec))
    for frames in (64, 143):
        source = clip(spec, frames, 0)
        found = run(graph, anonymized_features=source.features)
        if sizes == {"channels": 2}:
            asked = model.typed_controls({"phase": "regressed"})
            whole = Batch.of_clip(source.features[0], paired=source.features[0])
            require_near(found, model.convert(whole, [], asked))
        made = model(model.layout.image(source.features, model.channels))
        require_near(found[:, :512], made[:, 0].clamp(0, 1))
        require_near(found[:, 512:], source.features[:, 512:] if model.channels == 1 else made[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vqvae", "speech2speech"])
def test_voices_of_a_table(kind: str) -> None:
    model: Any = small(kind)[0].eval()
    model.quantizer.codebook.data.normal_(std=float(model.encoder(torch.randn(1, 80, 64)).std()))
    graph = graph_of(model, SPEC)
    assert graph.integers == {"target_speaker": 2} and list(graph.shapes) == ["source_features", "target_speaker"]
    content = traced(graph)
    for frames in (65, 222):
        source, target = clip(SPEC, frames, 0), Batch.of_clip(torch.zeros(80, 0), speaker=torch.tensor(1))
        found = run(content, source_features=source.features, target_speaker=torch.tensor([1]))
        require_near(found, model.convert(source, [target], model.typed_controls({})))


@pytest.mark.slow
def test_a_table_s_voice_has_a_level() -> None:
    torch.manual_seed(0)
    sizes = {"encoder": {"channels": 8, "strides": [1, 2, 2]}, "quantizer": {"codebook_size": 8, "dim": 4, "groups": 2}}
    decoder = {"channels": 8, "kernel": 3, "blocks": 3, "pitch_bins": 8}
    given = {"n_features": 80, "n_speakers": 3, "voice": "speaker", "voice_dim": 4, "decoder": decoder, **sizes}
    model: Any = MODELS.build("vqvae", given).eval()
    model.quantizer.codebook.data.normal_(std=float(model.encoder(torch.randn(1, 80, 64)).std()))
    graph = graph_of(model, SPEC)
    assert list(graph.shapes) == ["source_features", "source_f0", "target_speaker", "target_level"]
    source, level = clip(SPEC, 131, 0), torch.tensor([5.3])
    target = Batch(
        id=("",), features=torch.zeros(1, 80, 0), lengths=torch.zeros(1).long(), speaker=torch.tensor([2]), level=level
    )
    found = run(
        traced(graph), source_features=source.features, source_f0=source.f0, target_speaker=torch.tensor([2]),
        target_level=level,
    )  # fmt: skip
    require_near(found, model.convert(source, [target], model.typed_controls({})))


NETWORKS: dict[str, tuple[dict[str, Any], str]] = {
    "phones": ({"channels": 8, "dilations": [1, 2]}, "log_probs"),
    "phone_teacher": ({"width": 8, "heads": 2, "layers": 1}, "log_probs"),
    "voiceprint": ({"embedding": 8, "channels": 8, "hidden": 8, "blocks": 2}, "embedding"),
    "whisper": ({"width": 8, "heads": 2, "layers": 1}, "content"),
    "zerospeech": ({"encoder": {"channels": 8}, "quantizer": {"codebook_size": 8, "dim": 4}}, "codes"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_that_hear(name: str) -> None:
    torch.manual_seed(0)
    given, output = NETWORKS[name]
    network: Any = MODELS.build(name, given).eval()
    if name == "zerospeech":
        network.quantizer.codebook.data.normal_(std=float(network.encoder(torch.rand(1, 80, 64)).std()))
    graph = graph_of(network, WHISPER)
    asked: dict[str, Any] = {
        "log_probs": lambda x: network.log_probs(x), "embedding": lambda x: network.embed(x[0])[None],
        "content": lambda x: network(x), "codes": lambda x: network(x).values,
    }  # fmt: skip
    assert graph.output == output
    content = traced(graph)
    for frames in (max(64, graph.shortest), 240, 251):
        x = torch.rand(1, 80, frames, generator=torch.Generator().manual_seed(frames))
        require_near(run(content, features=x), asked[output](x))
    if name == "phones":
        assert graph.facts["classes"] == ["", *network.inventory] and graph.facts["every"] == 2


def test_voices_of_nobody(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: Any = MODELS.build("voicegan", {"size": 16, "noise": 8, "width": 8}).eval()
    about = Description(model="voicegan", arguments={"size": 16, "noise": 8, "width": 8}, features=SPEC.to_dict())
    write_onnx(Loaded(model, SPEC, about, None, ""), about, tmp_path / "v.onnx")
    noise = torch.randn(1, 8)
    for gender in (0, 1):
        found = run(tmp_path / "v.onnx", noise=noise, gender=torch.tensor([gender]))
        require_near(found, model(noise, torch.tensor([gender])))
    told = json.loads((tmp_path / "v.json").read_text())["onnx"]
    assert told["genders"] == ["female", "male"] and told["inputs"] == {"noise": [1, 8], "gender": [1]}
