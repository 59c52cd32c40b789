"""Vocoders are trained, resumed, asked to speak, and taught what a model says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import revoice
from revoice.audio.io import read_audio
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.vocoder import load_vocoder
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.nn.draws import Draws
from revoice.training.run import train
from revoice.vocoders.vocos import Vocos
from tests.conftest import TINY, compose_config

SMALL = ["debug=tiny", "logger=csv", "trainer=cpu", *TINY]
NARROW = ["vocoder.dim=32", "vocoder.hidden=48", "vocoder.layers=2"]
CRITICS = [
    "critics.period.width=1", "critics.period.periods=[2,5]", "critics.resolution.width=4",
    "critics.resolution.sizes=[512,256]", "vocoder.frames=16",
]  # fmt: skip


def settings(folder: Path, *more: str) -> dict[str, Any]:
    return compose_config("train", "vocoder=vocos_small", *SMALL, *NARROW, *more, folder=folder)


@pytest.fixture(scope="module")
def vocos(workplace: Path) -> Path:
    return train(settings(workplace), workplace / "outputs" / "vocos").folder


def test_a_vocoder_comes_back_from_its_checkpoint_and_speaks(vocos: Path, trained: Path, clip: str) -> None:
    loaded = load_checkpoint(vocos)
    assert loaded.description.kind == "vocoder" and "spec" not in loaded.description.arguments
    assert loaded.spec == load_checkpoint(trained).spec
    converted = revoice.load(trained, vocoder={"name": "vocos", "ckpt": str(vocos)}).convert(clip, clip)
    plain = revoice.load(trained).convert(clip, clip)
    assert len(converted.samples) == len(plain.samples)
    assert np.abs(converted.samples - plain.samples).max() > 1e-3


def test_the_command_says_so_in_its_record(command, vocos: Path, trained: Path, clip: str) -> None:
    arguments = [f"src={clip}", f"tgt={clip}", f"ckpt={trained}", "out=outputs/spoken/a.wav"]
    status, _, err = command("convert", *arguments, "vocoder=vocos", f"vocoder.ckpt={vocos}")
    assert status == 0, err
    about = json.loads(Path("outputs/spoken/a.json").read_text())
    assert about["vocoder"] == "vocos" and about["vocoder_settings"]["sha256"] == load_checkpoint(vocos).sha256


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["vocoder=vocos"], "vocoder.ckpt=RUN_FOLDER_OR_FILE"),
        (["vocoder=hifigan", "vocoder.ckpt={vocos}"], "holds a vocos, expected a vocoder hifigan"),
        (["vocoder.ckpt={trained}"], "holds a adain_vc, expected a vocoder"),
        (["vocoder.ckpt=nowhere"], "nowhere does not exist"),
    ],
)
def test_mistakes_are_one_line(command, vocos: Path, trained: Path, clip: str, arguments: list[str], why: str) -> None:
    filled = [a.format(vocos=vocos, trained=trained) for a in arguments]
    status, _, err = command("convert", f"src={clip}", f"tgt={clip}", f"ckpt={trained}", *filled)
    assert status == 2 and why in err and len(err.splitlines()) == 1


def test_a_vocoder_of_other_features_is_refused(workplace: Path, vocos: Path) -> None:
    from revoice.audio.presets import load_preset

    with pytest.raises(UserError, match="mels|sample_rate"):
        load_vocoder({"ckpt": str(vocos)}, load_preset("mel_24k100"))


def test_a_model_and_an_untrained_vocoder_are_not_trained_together(workplace: Path, tmp_path: Path) -> None:
    config = settings(workplace) | {"model": {"name": "adain_vc"}}
    with pytest.raises(UserError, match="train the vocoder alone"):
        train(config, tmp_path)


@pytest.mark.parametrize("name", ["vocos", "hifigan"])
def test_published_recipes_train_with_their_critics(name: str, workplace: Path, tmp_path: Path) -> None:
    narrow = NARROW if name == "vocos" else ["vocoder.channels=32"]
    critics = CRITICS if name == "vocos" else [*CRITICS[:2], "critics.scale.width=16", "critics.scale.scales=2",
                                               "vocoder.frames=16"]  # fmt: skip
    config = compose_config("train", f"vocoder={name}", *SMALL, *narrow, *critics, folder=workplace)
    outcome = train(config, tmp_path)
    judges = [key for key in outcome.metrics if key.startswith("train/critic/")]
    assert len(judges) == 2 and all(np.isfinite(outcome.metrics[key]) for key in judges)
    assert outcome.metrics["val/mel"] > 0 and outcome.metrics["val/stft"] > 0


def test_samples_are_said_again(workplace: Path, tmp_path: Path) -> None:
    config = settings(workplace)
    config["callbacks"]["samples"] = {"count": 2, "recognizer": None}
    train(config, tmp_path)
    said = sorted((tmp_path / "samples").glob("*/*_again.wav"))
    assert said and len(said) == len(list((tmp_path / "samples").glob("*/*_again.png")))
    assert np.isfinite(read_audio(said[0]).samples).all()


def test_it_hears_what_a_model_made(workplace: Path, tmp_path: Path, vocos: Path, trained: Path) -> None:
    config = settings(workplace, f"init_from={vocos}", f"data.generated_by={trained}")
    outcome = train(config, tmp_path)
    about = load_checkpoint(outcome.folder).description
    assert about.arguments["generated"] and np.isfinite(outcome.metrics["val/mel"])


def test_segments_have_levels_of_their_own_and_stay_within_full_scale() -> None:
    from revoice.audio.presets import load_preset

    vocoder = Vocos(load_preset("mel_22k"), dim=16, hidden=16, layers=1, frames=16)
    wave = torch.stack([torch.linspace(-0.2, 0.2, 4096), torch.linspace(-0.9, 0.9, 4096)]).repeat(8, 1)
    batch = Batch(
        id=("a",) * 16, features=torch.zeros(16, 80, 16), lengths=torch.full((16,), 16), waveform=wave,
        draws=Draws(0, 0, 0, 16, 16),
    )  # fmt: skip
    gains = 20 * torch.log10(vocoder.play(batch).real.abs().amax(1) / wave.abs().amax(1))  # type: ignore[union-attr]
    assert gains.min() < -6 and gains[::2].max() > 2 and gains.max() <= 6 and gains[1::2].max() < 1
    assert len(set(gains.tolist())) > 8
