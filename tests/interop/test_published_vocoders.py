"""Published vocoders become checkpoints that speak as they do: every form of file, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

import revoice
from revoice.audio.presets import load_preset
from revoice.checkpoint.load import Loaded, load_checkpoint
from revoice.interop.fixture import load_fixture
from tests.conversion.untrusted_helpers import WRITERS, calls, command, refusal
from tests.interop.vocoder_files import HIFIGAN_JSON, hifigan_names, published, tiny_hifigan, tiny_vocos, vocos_yaml

State = dict[str, Tensor]
MAKE: dict[str, Callable[[], tuple[Any, State]]] = {"vocos": tiny_vocos, "hifigan": tiny_hifigan}
HOLDER = {"vocos": "state_dict", "hifigan": "generator"}


def describe(folder: Path, kind: str, **changed: Any) -> Path:
    """The config that is published beside the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / {"vocos": "config.yaml", "hifigan": "config.json"}[kind]
    if kind == "vocos":
        file.write_text(yaml.safe_dump(vocos_yaml() | changed))
    else:
        file.write_text(json.dumps(HIFIGAN_JSON | changed))
    return file


def bring(kind: str, file: Path, out: Path, *more: str) -> Loaded:
    command("import_checkpoint", f"kind={kind}", f"path={file}", f"out={out}", *more)
    return load_checkpoint(out)


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


FORMS: dict[str, Callable[[State], Any]] = {
    "state_dict": lambda s: s,
    "DistributedDataParallel": lambda s: prefixed("module.", s),
    "torch.compile": lambda s: prefixed("_orig_mod.", s),
    "both": lambda s: prefixed("module._orig_mod.", s),
}


@pytest.mark.parametrize("form", [*FORMS, "holder", "old format", "safetensors"])
@pytest.mark.parametrize("kind", sorted(MAKE))
def test_every_form_is_read_bit_for_bit(kind: str, form: str, tmp_path: Path) -> None:
    model, state = MAKE[kind]()
    file, content = tmp_path / "weights.bin", FORMS.get(form, FORMS["both"])(state)
    describe(tmp_path, kind)
    if form == "safetensors":
        file = file.with_suffix(".safetensors")
        save_file(content, file)
    else:
        holder = {HOLDER[kind]: content} if form in ("holder", "old format") else content
        torch.save(holder, file, _use_new_zipfile_serialization=form != "old format")
    loaded = bring(kind, file, tmp_path / "ours.safetensors")
    found = loaded.model.state_dict()
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
    about = loaded.description
    assert about.kind == "vocoder" and about.data["imported_from"] == file.name and about.trim_db is None
    features = torch.randn(1, loaded.spec.channels, 9)
    assert torch.equal(loaded.model(features), model(features))


def test_features_and_use_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, preset in (("vocos", "mel_24k100"), ("hifigan", "mel_22k")):
        file, out = tmp_path / kind / "w", tmp_path / f"{kind}.ckpt"
        describe(file.parent, kind)
        torch.save(MAKE[kind]()[1], file)
        assert bring(kind, file, out).spec.fingerprint == load_preset(preset).fingerprint
        said = capsys.readouterr().out
        assert f"features={preset}: python convert.py" in said and f"vocoder.ckpt={out}" in said


def test_features_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "g_00000001"
    torch.save({"generator": tiny_hifigan()[1]}, file)
    describe(tmp_path, "hifigan", hop_size=300, fmax=None, sampling_rate=24000)
    spec = bring("hifigan", file, tmp_path / "a.ckpt").spec
    assert (spec.sample_rate, spec.hop, spec.fmax) == (24000, 256, None)
    said = capsys.readouterr().out
    assert "a hop of 300, its layers make 256" in said
    assert "features=mel_22k features.sample_rate=24000 features.fmax=null:" in said


def test_weight_norm_that_was_multiplied_out(tmp_path: Path) -> None:
    model, _ = tiny_hifigan()
    with torch.no_grad():
        model.first.parametrizations.weight.original0[3] = 0  # type: ignore[union-attr, index]
    features = torch.randn(1, 80, 6)
    expected = model(features)
    model.fuse()
    describe(tmp_path, "hifigan")
    torch.save(published(model, hifigan_names(1)), tmp_path / "fused.pt")
    found = bring("hifigan", tmp_path / "fused.pt", tmp_path / "a.ckpt").model(features)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_checkpoints_of_a_training_by_lightning(tmp_path: Path) -> None:
    model, state = tiny_vocos()
    judges = {
        "multiperioddisc.discriminators.0.convs.0.bias": torch.zeros(2),
        "melspec_loss.mel_spec.fb": torch.ones(1),
    }
    file = tmp_path / "checkpoints" / "vocos_checkpoint_epoch=3_step=99.ckpt"
    file.parent.mkdir()
    hyper = {"sample_rate": 24000, "mel_loss_coeff": 45}
    torch.save({"epoch": 3, "state_dict": state | judges, "hyper_parameters": hyper, "optimizer_states": []}, file)
    training = {"seed_everything": 4444, "trainer": {"max_steps": 2_000_000}}
    experiment = {"class_path": "vocos.experiment.VocosExp", "init_args": {**hyper, **vocos_yaml()}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(training | {"model": experiment}))
    features = torch.randn(1, 100, 4)
    assert torch.equal(bring("vocos", file, tmp_path / "a.ckpt").model(features), model(features))

    model, state = tiny_hifigan()
    describe(tmp_path, "hifigan")
    both = prefixed("generator.", state) | {"mpd.discriminators.0.convs.0.bias": torch.zeros(1)}
    torch.save({"state_dict": both}, file)
    assert torch.equal(bring("hifigan", file, tmp_path / "b.ckpt").model(features[:, :80]), model(features[:, :80]))


def test_half_stays_half(tmp_path: Path) -> None:
    describe(tmp_path, "vocos")
    half = {name: value.half() for name, value in tiny_vocos()[1].items()}
    torch.save(half, tmp_path / "w.bin")
    out = tmp_path / "a.safetensors"
    loaded = bring("vocos", tmp_path / "w.bin", out)
    assert {value.dtype for value in load_file(out).values()} == {torch.float16}
    assert torch.equal(loaded.model.state_dict()["out.bias"], half["head.out.bias"].float())


def test_convert_speaks_with_it_and_tells_the_file(trained: Path, clip: str, tmp_path: Path) -> None:
    describe(tmp_path, "hifigan")
    torch.save({"generator": tiny_hifigan()[1]}, tmp_path / "g_1")
    out = tmp_path / "voice.safetensors"
    loaded = bring("hifigan", tmp_path / "g_1", out)
    arguments = [f"ckpt={trained}", f"src={clip}", f"tgt={clip}"]
    command("convert", *arguments, "vocoder=hifigan", f"vocoder.ckpt={out}", f"out={tmp_path / 'a.wav'}")
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["vocoder"] == "hifigan" and record["vocoder_settings"]["sha256"] == loaded.sha256
    assert record["vocoder_settings"]["checkpoint"] == str(out)
    describe(tmp_path, "vocos")
    torch.save(tiny_vocos()[1], tmp_path / "w.bin")
    bring("vocos", tmp_path / "w.bin", tmp_path / "b.ckpt")
    said = refusal(out, lambda: revoice.load(trained, vocoder={"name": "vocos", "ckpt": str(tmp_path / "b.ckpt")}))
    assert "different features" in said and "mels: 100 != 80" in said


@pytest.mark.parametrize("kind", sorted(MAKE))
def test_it_is_exported_like_a_model(kind: str, tmp_path: Path) -> None:
    describe(tmp_path, kind)
    torch.save(MAKE[kind]()[1], tmp_path / "w")
    ours = bring(kind, tmp_path / "w", tmp_path / "a.ckpt")
    command("export", f"ckpt={tmp_path / 'a.ckpt'}", f"out={tmp_path / 'b.safetensors'}")
    again = load_checkpoint(tmp_path / "b.safetensors")
    assert again.description == ours.description
    assert json.loads((tmp_path / "b.json").read_text())["kind"] == "vocoder"
    features = torch.randn(1, ours.spec.channels, 5)
    assert torch.equal(again.model(features), ours.model(features))


HOSTILE: dict[str, tuple[Callable[[State], Any], str]] = {
    "nothing": (lambda s: {}, "no state_dict"),
    "a list": (lambda s: [1], "no state_dict"),
    "something else": (lambda s: s | {"epoch": 3}, "no state_dict"),
    "one missing": (lambda s: dict(list(s.items())[:-1]), "is only in the described"),
    "one more": (lambda s: s | {"odd.bias": torch.zeros(3)}, "odd.bias is only in the file"),
    "another shape": (lambda s: {k: v[..., :1] for k, v in s.items()}, "expected torch.float32"),
    "doubles": (lambda s: {k: v.double() for k, v in s.items()}, "float64"),
    "whole numbers": (lambda s: {k: v.long() for k, v in s.items()}, ""),
    "not a number": (lambda s: {k: v * torch.nan for k, v in s.items()}, "not finite"),
    "twice": (lambda s: s | prefixed("module.", s), "twice"),
    "names that are none": (lambda s: {3: torch.zeros(1)}, "no state_dict"),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("kind", sorted(MAKE))
def test_what_is_no_such_vocoder_is_refused(kind: str, what: str, tmp_path: Path) -> None:
    change, words = HOSTILE[what]
    file, out = tmp_path / "w.bin", tmp_path / "out.ckpt"
    describe(tmp_path, kind)
    torch.save(change(MAKE[kind]()[1]), file)
    said = refusal(file, lambda: bring(kind, file, out))
    assert file.name in said and words in said and not out.exists()


@pytest.mark.parametrize("kind", sorted(MAKE))
def test_no_pickle_runs_its_code(kind: str, tmp_path: Path) -> None:
    marker, file, out = tmp_path / "marker", tmp_path / "w.bin", tmp_path / "out.ckpt"
    describe(tmp_path, kind)
    for form in ("zip", "legacy"):
        for call in calls(marker).values():
            WRITERS[form](file, call)
            refusal(file, lambda: bring(kind, file, out))
    assert not marker.exists() and not out.exists()


@pytest.mark.parametrize(
    ("kind", "changed", "words"),
    [
        ("hifigan", {"upsample_rates": ["ab", 1000000]}, "upsample_rates"),
        ("hifigan", {"upsample_rates": []}, "upsample_rates"),
        ("hifigan", {"upsample_initial_channel": 2**50}, "vocoder.channels"),
        ("hifigan", {"upsample_initial_channel": 32}, "is torch.float32"),
        ("hifigan", {"resblock": "3"}, "vocoder.block '3'"),
        ("hifigan", {"resblock_kernel_sizes": [3] * 9}, "block_kernels"),
        ("hifigan", {"num_mels": -1}, "mels"),
        ("hifigan", {"sampling_rate": "fast"}, "sample_rate=fast"),
        ("hifigan", {"n_fft": 2**40}, "n_fft"),
        ("hifigan", {"n_fft": 2**16, "win_size": 2**16, "num_mels": 2**15}, "mels (32768) times bins (32769)"),
        ("vocos", {"feature_extractor": {"class_path": "vocos.feature_extractors.EncodecFeatures"}}, "EncodecFeatures"),
        ("vocos", {"backbone": 3}, "its backbone"),
        ("vocos", {"backbone": {"class_path": "x.VocosBackbone", "init_args": {"dim": 8}}}, "lacks input_channels"),
        ("vocos", vocos_yaml(backbone={"num_layers": 100000}), "layers"),
        ("vocos", vocos_yaml(backbone={"num_layers": 200}), "more than the 26 tensors"),
        ("vocos", vocos_yaml(backbone={"intermediate_dim": 16}), "up.weight"),
        ("vocos", vocos_yaml(head={"hop_length": 128}), "head.hop_length is 128, expected 256"),
        ("vocos", vocos_yaml(feature_extractor={"n_mels": 80}), "input_channels is 100, expected 80"),
        ("vocos", {"model": [1]}, "model"),
    ],
)  # fmt: skip
def test_configs_that_do_not_fit(kind: str, changed: dict[str, Any], words: str, tmp_path: Path) -> None:
    file = describe(tmp_path, kind, **changed)
    torch.save(MAKE[kind]()[1], tmp_path / "w.bin")
    said = refusal(file, lambda: bring(kind, tmp_path / "w.bin", tmp_path / "out.ckpt"))
    assert words in said and file.name in said


def test_a_config_that_lacks_something_or_is_none(tmp_path: Path) -> None:
    file = tmp_path / "w.bin"
    torch.save(tiny_hifigan()[1], file)

    def said(kind: str, *more: str) -> str:
        return refusal(file, lambda: bring(kind, file, tmp_path / "out.ckpt", *more))

    assert "give config=FILE" in said("hifigan") and "give config=FILE" in said("vocos")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({k: v for k, v in HIFIGAN_JSON.items() if k != "win_size"}))
    assert "config.json lacks win_size" in said("hifigan")
    for text in ("[", "3", "\x00", "[" * 100_000, '{"a": ' * 1000):
        config.write_text(text)
        (tmp_path / "config.yaml").write_text(text)
        assert "config.json" in said("hifigan") and "config.yaml" in said("vocos")
    assert "takes no statistics" in said("vocos", f"statistics={config}")
    assert "does not exist" in said("hifigan", f"path={tmp_path / 'none'}")


@pytest.mark.parametrize(
    ("kind", "file", "fixture", "output"),
    [
        ("vocos", "pytorch_model.bin", "vocos/vocos_center", "wav"),
        ("hifigan", "g_00000010", "hifigan/generator_resblock1", "wav_a"),
        ("hifigan", "g_00000010.zip", "hifigan/generator_resblock1", "wav_a"),
    ],
)
@torch.no_grad()
def test_golden_tensors(kind: str, file: str, fixture: str, output: str, shared: Path, tmp_path: Path) -> None:
    golden = load_fixture(shared / "parity" / f"{fixture}.json")
    loaded = bring(kind, shared / "parity" / kind / "checkpoints" / file, tmp_path / "a.safetensors")
    expected = golden.outputs[output].reshape(2, -1)
    found = loaded.model(golden.input(output.replace("wav", "mel")))
    assert (found - expected).abs().max() < 1e-5 + 1e-5 * expected.abs().max()


@pytest.mark.parametrize("fixture", ["vocos/vocos_same", "hifigan/generator_resblock2"])
@torch.no_grad()
def test_other_sizes(fixture: str, shared: Path, tmp_path: Path) -> None:
    golden, kind = load_fixture(shared / "parity" / f"{fixture}.json"), fixture.split("/")[0]
    describe(tmp_path, kind, **(golden.config["vocos"] if kind == "vocos" else golden.config))
    torch.save(prefixed("module.", golden.state), tmp_path / "w.pt")
    loaded = bring(kind, tmp_path / "w.pt", tmp_path / "a.safetensors")
    tail = "" if kind == "vocos" else "_a"
    expected = golden.outputs[f"wav{tail}"].reshape(2, -1)
    found = loaded.model(golden.input(f"mel{tail}"))
    assert (found - expected).abs().max() < 1e-5 + 1e-5 * expected.abs().max()


def test_one_with_a_table_speaks_in_its_first_row(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = load_fixture(shared / "parity" / "vocos" / "vocos_adanorm_same.json")
    describe(tmp_path, "vocos", **golden.config["vocos"])
    torch.save(golden.state, tmp_path / "w.pt")
    model = bring("vocos", tmp_path / "w.pt", tmp_path / "a.ckpt").model
    assert "4 rows, it speaks in the first" in capsys.readouterr().out
    mel = golden.input("mel")
    first = model(mel)
    model.row = int(golden.input("bandwidth_id"))  # type: ignore[assignment]
    assert not torch.equal(model(mel), first)
    assert (model(mel) - golden.outputs["wav"].reshape(2, -1)).abs().max() < 1e-4


def test_critics_are_no_generator(shared: Path, tmp_path: Path) -> None:
    file = shared / "parity" / "hifigan" / "checkpoints" / "do_00000010"
    assert "it holds critics" in refusal(file, lambda: bring("hifigan", file, tmp_path / "a.ckpt"))
