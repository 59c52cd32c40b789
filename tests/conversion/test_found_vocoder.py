"""What speaks where nobody says: the vocoder beside the model, else the one that ships if it fits, else Griffin-Lim."""

from pathlib import Path
from typing import Any

import pytest
import torch

from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.save import save
from revoice.cli.convert import spoken
from revoice.cli.quoting import with_griffin_lim
from revoice.conversion import jobs
from revoice.conversion.load import load
from revoice.errors import UserError
from revoice.models.base import MODELS, ConversionModel
from revoice.vocoders.base import VOCODERS
from tests.conftest import ADAIN, TINY
from tests.conversion.untrusted_helpers import small

SIZES: dict[str, Any] = {"dim": 8, "hidden": 8, "layers": 1}


def vocoder(file: Path, preset: str = "mel_22k") -> None:
    spec = load_preset(preset)
    about = Description(model="vocos", arguments=SIZES, features=spec.to_dict(), kind="vocoder")
    save(VOCODERS.build("vocos", SIZES, {"spec": spec}), about, file)


def model(file: Path, **data: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    made, about = small()
    about.data.update(data)
    save(made, about, file)
    return file


@pytest.mark.parametrize("name", ["vocoder.ckpt", "vocoder.safetensors"])
@pytest.mark.parametrize("place", ["", "checkpoints"])
def test_one_beside_the_model_speaks(name: str, place: str, tmp_path: Path) -> None:
    file = model(tmp_path / place / "best.ckpt")
    assert spoken(load(file)) == "vocoder: source_filter, the one that ships"
    vocoder(tmp_path / name)
    converter = load(file)
    assert converter.vocoder.name == "vocos" and str(tmp_path / name) in spoken(converter)
    assert load(tmp_path).vocoder.name == "vocos"  # the run folder
    assert load(file, vocoder={"name": "griffin_lim"}).vocoder.name == "griffin_lim"
    assert spoken(load(file, vocoder={"name": "griffin_lim"})) == "vocoder: griffin_lim"


def test_the_one_that_ships_speaks_what_it_knows_and_is_told_the_pitch_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = model(tmp_path / "a.ckpt")
    by_name = load(file, vocoder={"ckpt": "default_vocoder", "projections": 0}).vocoder
    assert by_name.name == "source_filter" and by_name.settings["projections"] == 0
    assert load("random_cnn").vocoder.name == "griffin_lim"  # of other features
    monkeypatch.setattr(MODELS.get("adain_vc"), "pitch", ConversionModel.pitch)
    assert load(file).vocoder.name == "griffin_lim"


def test_samples_of_a_training_are_said_by_what_is_found(command, workplace: Path, tmp_path: Path) -> None:
    settings = [*ADAIN, *TINY, "debug=tiny", "logger=none", "trainer=cpu", f"hydra.run.dir={tmp_path / 'run'}"]
    status, _, err = command("train", *settings, "vocoder=found")
    assert status == 0, err
    assert load(tmp_path / "run").loaded.description.data["vocoder"]["name"] == "source_filter"


@pytest.mark.parametrize("name", ["convert", "evaluate"])
def test_settings_of_no_named_vocoder_are_those_of_griffin_lim(name: str, command, clip: str, tmp_path: Path) -> None:
    asked = [f"ckpt={tmp_path / 'none'}", "vocoder.iterations=3"]
    status, _, err = command(name, *asked, *([f"src={clip}", f"tgt={clip}"] if name == "convert" else []))
    assert status == 2 and "none does not exist" in err  # and not an unknown setting


def test_what_it_says_depends_on_a_seed_that_may_be_given(tmp_path: Path) -> None:
    features, f0 = torch.randn(1, 80, 40) - 4, torch.full((1, 40), 150.0)
    one, same, other = (
        load(model(tmp_path / "a.ckpt"), vocoder={"ckpt": "default_vocoder", "seed": seed}).vocoder(features, f0=f0)
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same) and not torch.allclose(one, other)


def test_one_of_other_features_is_refused_with_the_way_out(tmp_path: Path) -> None:
    file = model(tmp_path / "best.ckpt")
    vocoder(tmp_path / "vocoder.ckpt", "mel_24k100")
    with pytest.raises(UserError, match="different features.*take it away, or type vocoder=griffin_lim"):
        load(file)


def test_another_than_the_model_names_is_told(tmp_path: Path) -> None:
    file = model(tmp_path / "best.ckpt", vocoder={"name": "vocos", "sha256": "0123456789abcdef"})
    assert "evaluated with the vocos 0123456789abcdef, which is another" in spoken(load(file))


def test_who_waits_reads_first_which_vocoder_speaks(
    command, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any, **others: Any) -> None:
        raise UserError("interrupted before anything was converted")

    file = model(tmp_path / "best.ckpt")
    vocoder(tmp_path / "vocoder.ckpt")
    monkeypatch.setattr(jobs, "convert_files", interrupted)
    status, _, err = command("convert", f"ckpt={file}", f"src={clip}", f"tgt={clip}", f"out={tmp_path / 'a.wav'}")
    told, reason = err.splitlines()
    assert told == f"vocoder: vocos ({tmp_path / 'vocoder.ckpt'})" and "interrupted" in reason and status == 2


def test_a_vocoder_in_place_of_a_model_is_named_as_one(command, clip: str, tmp_path: Path) -> None:
    vocoder(tmp_path / "v.safetensors")
    status, _, err = command("convert", f"ckpt={tmp_path / 'v.safetensors'}", f"src={clip}", f"tgt={clip}")
    assert status == 2 and "holds a vocoder, vocos" in err and f"type vocoder.ckpt={tmp_path / 'v.safetensors'}" in err


def test_settings_that_are_of_none(tmp_path: Path) -> None:
    file = model(tmp_path / "best.ckpt")
    with pytest.raises(UserError, match="vocoder.iterations=3: of which vocoder"):
        load(file, vocoder={"name": "found", "iterations": 3})
    typed = ["vocoder.iterations=3"]
    assert with_griffin_lim(typed) == [*typed, "vocoder=griffin_lim"]
    for others in (["vocoder.ckpt=a", "vocoder.sigma=1"], ["vocoder=vocos", "vocoder.ckpt=a"], ["src=a.wav"]):
        assert with_griffin_lim(others) == others


def test_bfloat16_is_near(tmp_path: Path) -> None:
    file = model(tmp_path / "best.ckpt")
    vocoder(tmp_path / "v.ckpt")
    exact, fast = (load(file, vocoder={"ckpt": tmp_path / "v.ckpt", **more}).vocoder for more in ({}, {"bf16": True}))
    features = torch.randn(1, 80, 20)
    with torch.no_grad():
        one, other = exact(features), fast(features)
    assert other.dtype == torch.float32 and not torch.equal(one, other)
    assert float((one - other).abs().max()) < 0.05 * float(one.abs().max())
    assert fast.settings["bf16"] is True
