"""Graphs that are wrong or too large are not written, and the example spoils no file and finds out before it works."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from revoice.audio.pitch_network import PitchNetwork, pitch_network
from revoice.audio.presets import load_preset, preset_names
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded
from revoice.errors import UserError
from revoice.interop.onnx import write_onnx
from revoice.interop.onnx.graph import Graph
from revoice.interop.onnx.pitch import search_graph
from revoice.models.base import MODELS
from tests.conversion.untrusted_helpers import SPEC, small
from tests.interop.test_onnx import the_example

pytest.importorskip("onnxscript")


class _Logarithm(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return (features - 0.5).log()


def test_a_graph_that_gives_no_numbers_is_not_near() -> None:
    for truth in (None, nn.Identity()):
        graph = Graph(_Logarithm(), {"features": (1, 2, ("frames", 1))}, "made", truth)
        assert not graph.distance(graph.traced().SerializeToString()) < 1e-4


@pytest.mark.parametrize("preset", preset_names())
def test_the_search_of_the_pitch_is_compared_on_a_voice(preset: str) -> None:
    graph = search_graph(pitch_network(), load_preset(preset))
    for frames in (131, 150):
        found = graph.module(*graph.inputs({"frames": frames}).values())
        assert (found > 0).float().mean() > 0.5 and found.max() > 1.5 * found[found > 0].min()


def test_a_search_that_finds_nothing_is_not_compared() -> None:
    network = PitchNetwork(channels=8, hidden=8, dilations=(1,)).eval()
    with torch.no_grad():
        network.head.bias[-1] = -1e6
    with pytest.raises(UserError, match="finds no pitch in a plain voice"):
        search_graph(network, load_preset("whisper_16k")).distance(b"")


def test_what_no_file_holds_is_refused_before_the_work(tmp_path: Path) -> None:
    spec = load_preset("whisper_16k")
    sizes = {"n_features": 80, "width": 1280, "heads": 20, "layers": 32}
    with torch.device("meta"):
        model = MODELS.build("whisper", sizes)
    about = Description(model="whisper", arguments=sizes, features=spec.to_dict())
    with pytest.raises(UserError, match="no graph of whisper with 2.4 GiB of weights: an .onnx file holds less than 2"):
        write_onnx(Loaded(model, spec, about, None, ""), about, tmp_path / "w.onnx")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with recordings, and the description of a graph that must not be run."""
    time = np.arange(8000) / 16000
    soundfile.write(tmp_path / "a.wav", 0.3 * np.sin(2 * np.pi * 200 * time), 16000)
    asked = {"shortest": 64, "inputs": {"source_features": [1, 80, "1 * source_frames"]}, "output": "features"}
    (tmp_path / "m.json").write_text(json.dumps({**small()[1].to_dict(), "onnx": asked}))
    others = {**small()[1].to_dict(), "features": SPEC.to_dict() | {"fmax": 7000.0}}
    (tmp_path / "v.json").write_text(json.dumps({**others, "onnx": asked}))
    for name in ("m.onnx", "v.onnx"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["m.onnx", "a.wav", "a.wav", "a.wav"], "a.wav: is what is read"),
        (["m.onnx", "a.wav", "a.wav", "link.wav"], "link.wav: is what is read"),
        (["m.onnx", "a.wav", "a.wav", "out.txt"], "out.txt: expected a name like out.wav"),
        (["m.onnx", "a.wav", "a.wav", "none/out.wav"], "out.wav: expected a name like out.wav, in a folder"),
        (["m.onnx", "none.wav", "a.wav", "out.wav"], "none.wav: no such file"),
        (["none.onnx", "a.wav", "a.wav", "out.wav"], "none.json: no such file, it should lie beside"),
        (["m.onnx", "a.wav", "a.wav", "out.wav", "--vocoder", "none.onnx"], "none.json: no such file"),
        (["m.onnx", "a.wav", "a.wav", "out.wav", "--vocoder", "v.onnx"], "other features than the model's: fmax"),
    ],
)
def test_the_example_finds_out_before_it_works(
    given: list[str], words: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = the_example()
    monkeypatch.setattr(program.onnxruntime, "InferenceSession", lambda *_: pytest.fail("it worked"))
    (files / "link.wav").symlink_to(files / "a.wav")
    before = (files / "a.wav").read_bytes()
    with pytest.raises(SystemExit, match=words):
        program.main([each if each.startswith("--") else str(files / each) for each in given])
    assert (files / "a.wav").read_bytes() == before and not (files / "out.wav").exists()


WAVE = 0.3 * np.sin(np.arange(4000) / 20)
SILENT: dict[str, Callable[[], Any]] = {
    "no samples": lambda: WAVE[:0],
    "zeros": lambda: 0 * WAVE,
    "no number": lambda: np.where(np.arange(4000) == 7, np.nan, WAVE),
}


@pytest.mark.parametrize("what", SILENT)
def test_the_example_hears_sound_alone(what: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SILENT[what](), 16000, subtype="FLOAT")
    with pytest.raises(SystemExit, match=r"a.wav: is silent, or has samples that are no numbers"):
        the_example().read(str(tmp_path / "a.wav"), 22050)
    (tmp_path / "b.wav").write_text("no sound")
    with pytest.raises(SystemExit, match=r"b.wav: "):
        the_example().read(str(tmp_path / "b.wav"), 22050)


def test_the_example_hears_channels_that_cancel_each_other_out(tmp_path: Path) -> None:
    for right, expected in ((-WAVE, WAVE), (0.5 * WAVE, 0.75 * WAVE), (np.zeros(4000), 0.5 * WAVE)):
        soundfile.write(tmp_path / "a.wav", np.stack([WAVE, right], axis=1), 16000, subtype="FLOAT")
        found = the_example().read(str(tmp_path / "a.wav"), 16000)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    soundfile.write(tmp_path / "a.wav", WAVE[1:2], 16000)
    assert len(the_example().read(str(tmp_path / "a.wav"), 8000)) == 1  # of a single sample remains one
