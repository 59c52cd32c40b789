"""What a callback watches is measured of this very model, or it is refused before training starts."""

from pathlib import Path

import pytest

from revoice.errors import UserError
from revoice.training.config import check
from revoice.training.module import VoiceModule
from revoice.training.run import train
from tests.conftest import ADAIN, TINY, compose_config

WATCH = "callbacks.checkpoint.monitor="
REFUSED = [
    (["model=phones", f"{WATCH}samples/error_rate"], "samples/error_rate"),
    (["vocoder=vocos", "metrics=conversion"], "conversion/score"),
    (["model=adain_vc", f"{WATCH}codebook/usage"], "codebook/usage"),
    (["model=phones", "callbacks.early_stopping={monitor: samples/error_rate}"], "callbacks.early_stopping.monitor"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED)
def test_what_this_model_never_logs_is_refused(tmp_path: Path, settings: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        check(compose_config("train", *settings, "trainer=cpu", folder=tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        ["model=adain_vc", f"{WATCH}samples/error_rate"],
        ["vocoder=vocos", f"{WATCH}samples/error_rate"],
        ["model=vqvae", f"{WATCH}codebook/usage"],
        ["model=adain_vc", "metrics=conversion"],
    ],
)
def test_what_it_logs_is_not(tmp_path: Path, settings: list[str]) -> None:
    check(compose_config("train", *settings, "trainer=cpu", folder=tmp_path))


def test_a_model_that_goes_on_from_a_checkpoint_is_asked_when_it_is_known(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Path
) -> None:
    monkeypatch.setattr(VoiceModule, "training_step", lambda *_: pytest.fail("it learned"))
    settings = ["model=adain_vc_small", f"init_from={trained}", f"{WATCH}codebook/usage"]
    config = compose_config("train", *settings, "debug=tiny", "logger=none", "trainer=cpu", *TINY, folder=workplace)
    with pytest.raises(UserError, match="callbacks.checkpoint.monitor"):
        train(config, tmp_path)


def test_samples_of_recordings_that_are_not_here_choose_nothing(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VoiceModule, "training_step", lambda *_: pytest.fail("it learned"))
    monkeypatch.setattr("revoice.data.memory.VoiceDataModule.recordings", lambda self: None)
    settings = [*ADAIN, "debug=tiny", "logger=none", "trainer=cpu", f"{WATCH}samples/error_rate"]
    config = compose_config("train", *settings, *TINY, "callbacks.samples={count: 1}", folder=workplace)
    with pytest.raises(UserError, match="callbacks.checkpoint.monitor"):
        train(config, tmp_path)
