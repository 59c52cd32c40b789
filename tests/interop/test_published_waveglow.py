"""Published WaveGlow files of every age become checkpoints that say the same, and none of them runs anything."""

import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from revoice.audio.features import extractor
from revoice.audio.presets import load_preset
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import Loaded, load_checkpoint
from revoice.interop.fixture import load_fixture
from revoice.vocoders.waveglow import WaveGlow
from tests.conversion.untrusted_helpers import WRITERS, calls, command, refusal
from tests.interop.vocoder_files import WAVEGLOW, published

State = dict[str, Tensor]


def tiny(alternate: bool = False) -> tuple[WaveGlow, State]:
    """One of random weights, and the published names for them."""
    torch.manual_seed(0)
    spec = load_preset("mel_22k_tacotron")
    model = WaveGlow(spec, channels=8, layers=2, flows=6, alternate=alternate, raw=True).eval()
    for flow in model.flows:
        nn.init.normal_(flow.coupling.last.weight, std=0.1)  # type: ignore[arg-type, union-attr]
    return model, published(model, WAVEGLOW)


def apart(state: State) -> State:
    """The layout of older files: a condition per layer, residual and skip outputs apart."""
    found: State = {}
    for name, value in state.items():
        if ".cond_layer." in name:
            for i, part in enumerate(value.chunk(2)):
                found[name.replace("cond_layer", f"cond_layers.{i}")] = part.clone()
        elif ".res_skip_layers.0." in name:
            found |= {
                name.replace("res_skip", kind): part.clone()
                for kind, part in zip(("res", "skip"), value.chunk(2), strict=True)
            }
        elif ".res_skip_layers." in name:
            found[name.replace("res_skip", "skip")] = value
        else:
            found[name] = value
    return found


def fused(state: State) -> State:
    found = {n: v for n, v in state.items() if not n.endswith(("weight_g", "weight_v"))}
    for name in (n.removesuffix("_v") for n in state if n.endswith("weight_v")):
        found[name] = torch._weight_norm(state[f"{name}_v"], state[f"{name}_g"], 0)
    return found


def newer(state: State) -> State:
    return {
        n.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): v
        for n, v in state.items()
    }


def nemo(state: State) -> State:
    """Its model of later versions, with the inverses that it keeps and what makes its mels."""
    extra = {f"convinv.{i}.inv_conv.weight": torch.zeros(2, 2, 1) for i in range(2)}
    filters = extractor(load_preset("mel_22k_tacotron")).basis.T[None]
    front = {"window": torch.hann_window(1024), "fb": filters, "stft.forward_basis": torch.rand(1026, 1)}
    named = {f"waveglow.{n.replace('WN.', 'wavenet.')}": v for n, v in (state | extra).items()}
    return named | {f"audio_to_melspec_precessor.{n}": v for n, v in front.items()}


FORMS: dict[str, Callable[[State], Any]] = {
    "state_dict": lambda s: s,
    "hub": lambda s: {"state_dict": {f"module.{n}": v for n, v in s.items()}},
    "compiled": lambda s: {"state_dict": {f"_orig_mod.{n}": v for n, v in s.items()}},
    "apart": lambda s: {"state_dict": apart(s)},
    "parametrizations": newer,
    "hub, 16 bits": lambda s: {"state_dict": {f"module.1.{n}": v for n, v in apart(s).items()}},
    "NeMo": nemo,
    "NeMo's checkpoint": lambda s: {"state_dict": nemo(s), "epoch": 3},
    "NeMo, earlier": lambda s: {f"waveglow.{n}": v for n, v in fused(apart(s)).items()},
    "stale products": lambda s: s | {n: torch.zeros_like(v) for n, v in fused(s).items() if n not in s},
    "fused": fused,
}  # fmt: skip


def bring(file: Path, out: Path, *more: str) -> Loaded:
    command("import_checkpoint", "kind=waveglow", f"path={file}", f"out={out}", *more)
    return load_checkpoint(out)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, state = tiny()
    torch.save(FORMS[form](state), tmp_path / "w.pt")
    loaded = bring(tmp_path / "w.pt", tmp_path / "a.safetensors")
    assert "coupling=alternating" in capsys.readouterr().out and loaded.spec == load_preset("mel_22k_tacotron")
    mel = torch.randn(1, 80, 5)
    torch.testing.assert_close(loaded.model(mel), model(mel), rtol=1e-4, atol=1e-5)
    if form not in ("fused", "NeMo, earlier"):
        found = loaded.model.state_dict()
        assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())


def test_mels_are_those_of_the_filters_in_a_model_of_nemo_s(tmp_path: Path) -> None:
    spec = FeatureSpec.from_dict(load_preset("mel_22k_tacotron").to_dict() | {"fmax": None})
    filters = {"audio_to_melspec_precessor.fb": extractor(spec).basis.T[None]}
    torch.save(nemo(tiny()[1]) | filters, tmp_path / "model_weights.ckpt")
    assert bring(tmp_path / "model_weights.ckpt", tmp_path / "a.ckpt").spec.fmax == 11025
    (tmp_path / "w.nemo").write_bytes(b"\x1f\x8b")
    said = refusal(tmp_path / "w.nemo", lambda: bring(tmp_path / "w.nemo", tmp_path / "b.ckpt"))
    assert "type tar -xf" in said and "path=model_weights.ckpt" in said


class _Wrapped(nn.Module):
    """A module whose attributes are the published names', as the published class has them."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.n_flows = 6
        for name, value in state.items():
            *path, last = name.split(".")
            place: nn.Module = self
            for part in path:
                if part not in place._modules:
                    place.add_module(part, nn.Module())
                place = place.get_submodule(part)
            place.register_parameter(last, nn.Parameter(value))
            if last == "weight_v":
                place.weight = torch.zeros_like(value)  # torch's older weight norm leaves such a product


@pytest.fixture
def classes() -> Iterator[dict[str, type]]:
    """The published classes' names, only while the files are written."""
    made = {}
    for name in ("glow", "glow_old"):
        module = types.ModuleType(name)
        made[name] = type("WaveGlow", (_Wrapped,), {"__module__": name})
        module.WaveGlow = made[name]  # type: ignore[attr-defined]
        sys.modules[name] = module
    yield made
    for name in made:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["glow", "glow_old"])
def test_whole_modules_tell_their_class(
    name: str, zipped: bool, classes: dict[str, type], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, state = tiny(alternate=name == "glow_old")
    file = tmp_path / "waveglow_100"
    content = {"model": classes[name](state), "iteration": 100, "learning_rate": 1e-4, "optimizer": {}}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    for module in classes:
        del sys.modules[module]
    loaded = bring(file, tmp_path / "a.safetensors")
    assert name not in sys.modules and "coupling" not in capsys.readouterr().out
    assert loaded.description.arguments["alternate"] == (name == "glow_old")
    mel = torch.randn(1, 80, 5)
    assert torch.allclose(loaded.model(mel), model(mel), atol=1e-6)


@pytest.mark.parametrize(("package", "alternates"), [("glow_old", True), ("waveglow.glow_old", True), ("glow", False)])
def test_a_wrapper_does_not_hide_the_class(
    package: str, alternates: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = types.ModuleType(package)
    module.WaveGlow = type("WaveGlow", (_Wrapped,), {"__module__": package})  # type: ignore[attr-defined]
    model, state = tiny(alternate=alternates)
    sys.modules |= {"waveglow": types.ModuleType("waveglow"), package: module}
    try:
        torch.save({"model": nn.DataParallel(module.WaveGlow(state))}, tmp_path / "w.pt")
    finally:
        for name in {"waveglow", package}:
            del sys.modules[name]
    loaded = bring(tmp_path / "w.pt", tmp_path / "a.ckpt")
    assert loaded.description.arguments["alternate"] == alternates and "coupling" not in capsys.readouterr().out
    mel = torch.randn(1, 80, 5)
    assert torch.allclose(loaded.model(mel), model(mel), atol=1e-6)


def test_the_user_says_how_halves_alternate_and_what_is_heard(tmp_path: Path) -> None:
    model, state = tiny(alternate=True)
    torch.save(state, tmp_path / "w.pt")
    loaded = bring(tmp_path / "w.pt", tmp_path / "a.ckpt", "coupling=alternating", "preset=speechsplit_16k")
    assert loaded.spec == load_preset("speechsplit_16k")
    mel = torch.rand(1, 80, 5)
    assert torch.allclose(loaded.model(mel), model(mel), atol=1e-6)  # features as they are, on whatever scale
    assert "coupling" in refusal(tmp_path, lambda: bring(tmp_path / "w.pt", tmp_path / "b.ckpt", "coupling=both"))
    said = refusal(tmp_path, lambda: bring(tmp_path / "w.pt", tmp_path / "b.ckpt", "preset=linear_16k"))
    assert "1025 channels" in said


def test_its_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(tiny()[1], tmp_path / "w.pt")
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({"waveglow_config": {"n_flows": 6}, "data_config": {"sampling_rate": 16000, "mel_fmax": 7600.0}})
    )
    spec = bring(tmp_path / "w.pt", tmp_path / "a.ckpt").spec
    assert (spec.sample_rate, spec.fmax, spec.hop, spec.n_fft) == (16000, 7600, 256, 1024)
    config.write_text(json.dumps({"waveglow_config": {"n_flows": 12}}))
    assert bring(tmp_path / "w.pt", tmp_path / "a.ckpt").spec == load_preset("mel_22k_tacotron")
    assert "its n_flows is 12" in capsys.readouterr().out
    said = refusal(tmp_path, lambda: bring(tmp_path / "w.pt", tmp_path / "a.ckpt", f"config={config}"))
    assert "its n_flows is 12, that of the weights 6" in said
    config.write_text(json.dumps({"data_config": {"hop_length": 300}}))
    assert bring(tmp_path / "w.pt", tmp_path / "a.ckpt").spec.hop == 256
    assert "a hop of 300, its layers make 256 samples of a frame" in capsys.readouterr().out
    for text, words in {
        "[": "config.json", "[1]": "expected settings by name", '{"data_config": 3}': "its data_config: expected",
        '{"data_config": {"filter_length": "long"}}': "config.json: features.n_fft=long",
        '{"data_config": {"mel_fmax": -1}}': "config.json: features.fmax=-1",
        '{"data_config": {"hop_length": "{x}"}}': "config.json: hop_length={x}",
    }.items():  # fmt: skip
        config.write_text(text)
        assert words in refusal(tmp_path, lambda: bring(tmp_path / "w.pt", tmp_path / "b.ckpt"))


HOSTILE: dict[str, tuple[Callable[[State], Any], str]] = {
    "nothing": (lambda s: {}, "no state_dict"),
    "another": (lambda s: {"a.weight": torch.zeros(2)}, "no weights of a WaveGlow"),
    "no upsampling": (
        lambda s: {k: v for k, v in s.items() if not k.startswith("upsample")}, "no weights of a WaveGlow"
    ),
    "a number for it": (lambda s: s | {"upsample.weight": torch.tensor(1.0)}, "no weights of a WaveGlow"),
    "one missing": (lambda s: dict(list(s.items())[:-1]), "is only in the described"),
    "one more": (lambda s: s | {"odd.bias": torch.zeros(3)}, "odd.bias is only in the file"),
    "another shape": (lambda s: s | {"WN.1.start.bias": torch.zeros(3)}, "expected torch.float32 [8]"),
    "not a number": (lambda s: {k: v * torch.nan for k, v in s.items()}, "not finite"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_waveglow_is_refused(what: str, tmp_path: Path) -> None:
    change, words = HOSTILE[what]
    torch.save(change(tiny()[1]), tmp_path / "w.pt")
    said = refusal(tmp_path / "w.pt", lambda: bring(tmp_path / "w.pt", tmp_path / "a.ckpt"))
    assert words in said and not (tmp_path / "a.ckpt").exists()


class _Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.what = (function, arguments)

    def __reduce__(self) -> Any:
        return self.what


def test_no_pickle_runs_its_code(tmp_path: Path) -> None:
    marker, file, out = tmp_path / "marker", tmp_path / "w.bin", tmp_path / "out.ckpt"
    for form in ("zip", "legacy"):
        for call in calls(marker).values():
            WRITERS[form](file, call)
            refusal(file, lambda: bring(file, out))
    assert not marker.exists() and not out.exists()


def test_names_of_known_packages_are_never_looked_up(tmp_path: Path) -> None:
    """`torch.nn.modules.module.torch` would be torch itself, and its `load` a way out."""
    torch.save({"model": _Calls(nn.init.zeros_, torch.ones(3))}, tmp_path / "w.pt")
    said = refusal(tmp_path / "w.pt", lambda: bring(tmp_path / "w.pt", tmp_path / "a.ckpt"))
    assert "no state_dict" in said or "no weights" in said or "pickled module" in said


@pytest.mark.parametrize(
    ("file", "fixture"),
    [
        ("waveglow_580000", "waveglow"), ("waveglow_580000.zip.pt", "waveglow"),
        ("waveglow_state_dict.pth", "waveglow"),
        ("waveglow_state_dict_module_prefix.pth", "waveglow"), ("waveglow_state_dict_separate_layers.pth", "waveglow"),
        ("waveglow_old_class.pt", "waveglow_old_class"),
    ],
)  # fmt: skip
@torch.no_grad()
def test_golden_tensors(file: str, fixture: str, shared: Path, tmp_path: Path) -> None:
    golden = load_fixture(shared / "parity" / "waveglow" / f"{fixture}.json")
    loaded = bring(shared / "parity" / "waveglow" / "checkpoints" / file, tmp_path / "a.safetensors")
    model = loaded.model
    assert isinstance(model, WaveGlow)
    noise = [0.7 * golden.input(f"noise_{i}") for i in range(2)]
    expected = golden.outputs["infer_sigma0.7"]
    found = model.decode(noise, golden.input("mel"))
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
