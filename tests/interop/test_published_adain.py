"""Published AdaIN-VC becomes a model that converts: every form of its file, and what is refused."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from revoice.checkpoint.load import Loaded, load_checkpoint
from revoice.interop.adain_vc import arguments, our_name
from revoice.interop.fixture import load_fixture
from revoice.models.adain_vc import AdaINVC
from tests.conversion.untrusted_helpers import WRITERS, calls, command, refusal

State = dict[str, Tensor]
SIZES = {"kernel_size": 3, "bank_size": 2, "bank_scale": 1, "c_bank": 4, "act": "relu", "dropout_rate": 0}
ENCODER = SIZES | {"c_in": 20, "c_h": 8, "c_out": 8, "n_conv_blocks": 2, "subsample": [1, 2], "n_dense_blocks": 2}
CONFIG: dict[str, Any] = {
    "SpeakerEncoder": ENCODER, "ContentEncoder": {**ENCODER},
    "Decoder": SIZES | {"c_in": 8, "c_cond": 8, "c_h": 8, "c_out": 20, "n_conv_blocks": 2, "upsample": [2, 1]},
}  # fmt: skip


def tiny() -> tuple[AdaINVC, State]:
    """One of random weights, and the published names for them, found by trying."""
    torch.manual_seed(0)
    model = AdaINVC(**arguments(CONFIG)).eval()
    lists = ("conv_bank", "first_conv_layers", "second_conv_layers", "first_dense_layers", "second_dense_layers")
    layers = [f"{name}.{i}" for name in (*lists, "conv_affine_layers") for i in range(4)]
    layers += [f"{name}_layer" for name in ("in_conv", "out_conv", "output", "mean", "std")]
    own, parts = model.state_dict(), ("speaker_encoder", "content_encoder", "decoder")
    names = [f"{part}.{layer}.{kind}" for part in parts for layer in layers for kind in ("weight", "bias")]
    state = {name: own[our_name(name)].clone() for name in names if our_name(name) in own}
    assert len(state) == len(own) - 2  # of mean and deviation
    return model, state


def describe(folder: Path, config: Any = CONFIG, channels: int = 20) -> None:
    """What is published beside the weights."""
    (folder / "config.yaml").write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    rows = {"mean": np.linspace(0, 1, channels), "std": np.linspace(0, 2, channels)}
    (folder / "attr.pkl").write_bytes(pickle.dumps(rows, protocol=3))


def bring(file: Path, out: Path) -> Loaded:
    command("import_checkpoint", "kind=adain_vc", f"path={file}", f"out={out}")
    return load_checkpoint(out)


FORMS: dict[str, Callable[[State], Any]] = {
    "state_dict": lambda s: s,
    "holder": lambda s: {"state_dict": s, "epoch": 3},
    "DistributedDataParallel": lambda s: {f"module.{name}": value for name, value in s.items()},
    "torch.compile": lambda s: {f"_orig_mod.{name}": value for name, value in s.items()},
    "half": lambda s: {name: value.half() for name, value in s.items()},
}


@pytest.mark.parametrize("form", [*FORMS, "old format", "safetensors"])
def test_every_form_is_read(form: str, tmp_path: Path) -> None:
    model, state = tiny()
    describe(tmp_path, {"model": CONFIG} if form == "holder" else CONFIG)
    file, content = tmp_path / "vctk_model.ckpt", FORMS.get(form, FORMS["state_dict"])(state)
    if form == "safetensors":
        file = file.with_suffix(".safetensors")
        save_file(content, file)
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form != "old format")
    loaded = bring(file, tmp_path / "ours.safetensors")
    found = loaded.model.state_dict()
    for name, value in state.items():
        assert torch.equal(found[our_name(name)], value.half().float() if form == "half" else value)
    stored = {value.dtype for value in load_file(tmp_path / "ours.safetensors").values()}
    assert stored == {torch.float16 if form == "half" else torch.float32}
    near = {"rtol": 1e-3 if form == "half" else 1e-6, "atol": 1e-7 if form == "half" else 0.0}
    mean, std = torch.linspace(0, 1, 20), torch.linspace(0, 2, 20).clamp(min=1e-5)
    torch.testing.assert_close(found["standardizer.mean"], mean, **near)
    torch.testing.assert_close(found["standardizer.std"], std, **near)
    assert loaded.spec.channels == 20 and loaded.description.trim_db == 15.0


@pytest.mark.parametrize("file", ["vctk_model.ckpt", "vctk_model.zip.ckpt"])
@pytest.mark.parametrize("attr", ["attr.pkl", "attr_numpy2.pkl"])
@torch.no_grad()
def test_golden_tensors(file: str, attr: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "parity" / "adain_vc"
    golden, out = load_fixture(folder / "ae.json"), tmp_path / "a.ckpt"
    published = folder / "checkpoints"
    more = [f"statistics={published / attr}", f"config={published / 'vctk_model.config.yaml'}"]
    command("import_checkpoint", "kind=adain_vc", f"path={published / file}", f"out={out}", *more)
    model: Any = load_checkpoint(out).model
    said = model.decode(model.content_encoder(golden.input("x_T101")).mean, model.styles(golden.input("x_T128")))
    assert float((said - golden.outputs["convert"]).abs().max()) <= golden.tolerance["convert"]
    for name, value in load_file(published / "attr_expected.safetensors").items():
        torch.testing.assert_close(model.state_dict()[f"standardizer.{name}"], value.float(), rtol=1e-6, atol=0)


HOSTILE: dict[str, tuple[Callable[[State], Any], str]] = {
    "nothing": (lambda s: {}, "no state_dict"),
    "twice": (lambda s: s | {f"module.{name}": value + 1 for name, value in s.items()}, "twice"),
    "complex": (lambda s: {name: value.to(torch.complex64) for name, value in s.items()}, "is torch.complex64"),
    "whole numbers": (lambda s: {name: value.int() for name, value in s.items()}, "is torch.int32"),
    "one missing": (lambda s: dict(list(s.items())[:-1]), "is only in the described"),
    "one more": (lambda s: s | {"odd.bias": torch.zeros(3)}, "odd.bias is only in the file"),
    "another shape": (lambda s: {k: v[..., :1] for k, v in s.items()}, "expected torch.float32"),
    "not a number": (lambda s: {k: v * torch.nan for k, v in s.items()}, "not finite"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_none_is_refused(what: str, tmp_path: Path) -> None:
    change, words = HOSTILE[what]
    file, out = tmp_path / "vctk_model.ckpt", tmp_path / "a.ckpt"
    describe(tmp_path)
    torch.save(change(tiny()[1]), file)
    said = refusal(file, lambda: bring(file, out))
    assert file.name in said and words in said and not out.exists()


def absurd(part: str, **changed: Any) -> dict[str, Any]:
    return CONFIG | {part: CONFIG[part] | changed}


CONFIGS: dict[str, tuple[Any, str]] = {
    "empty": ("", "expected settings by name"),
    "a word": ("hello", "expected settings by name"),
    "a part missing": ({"ContentEncoder": ENCODER}, "its SpeakerEncoder: expected settings by name"),
    "a part of another kind": (CONFIG | {"Decoder": [1]}, "its Decoder: expected settings by name"),
    "a setting missing": (CONFIG | {"Decoder": SIZES}, "its Decoder lacks c_h"),
    "another activation": (absurd("Decoder", act="tanh"), "expected act: relu"),
    "width": (absurd("SpeakerEncoder", c_h=10**6), "config.yaml"),
    "dense blocks": (absurd("SpeakerEncoder", n_dense_blocks=10**6), "config.yaml"),
    "bank": (absurd("SpeakerEncoder", bank_size=10**6), "config.yaml"),
    "a width below 0": (absurd("SpeakerEncoder", c_h=-1), "config.yaml"),
    "a width that is a word": (absurd("SpeakerEncoder", c_h="x"), "config.yaml"),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_configs_that_do_not_fit(what: str, tmp_path: Path) -> None:
    config, words = CONFIGS[what]
    describe(tmp_path, config)
    torch.save(tiny()[1], tmp_path / "m.ckpt")
    said = refusal(tmp_path / "config.yaml", lambda: bring(tmp_path / "m.ckpt", tmp_path / "a.ckpt"))
    assert "config.yaml" in said and words in said and not (tmp_path / "a.ckpt").exists()


def test_statistics_of_another_model(tmp_path: Path) -> None:
    describe(tmp_path, channels=19)
    torch.save(tiny()[1], tmp_path / "m.ckpt")
    said = refusal(tmp_path, lambda: bring(tmp_path / "m.ckpt", tmp_path / "a.ckpt"))
    assert "statistics of 19 channels for a network of 20" in said


def test_no_pickle_runs_its_code(tmp_path: Path) -> None:
    marker, file, out = tmp_path / "marker", tmp_path / "m.ckpt", tmp_path / "a.ckpt"
    describe(tmp_path)
    for form in ("zip", "legacy"):
        for call in calls(marker).values():
            WRITERS[form](file, call)
            assert "m.ckpt" in refusal(file, lambda: bring(file, out))
    assert not marker.exists() and not out.exists()
