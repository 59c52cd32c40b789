"""What had other names a release ago goes on working."""

import logging
import re
from pathlib import Path

import pytest
import torch

import revoice
from revoice.checkpoint.load import load_checkpoint
from revoice.models.random_cnn.model import RandomCNN


def old_names(state: dict) -> dict:
    return {name.replace("standardizer.", "standardiser."): value for name, value in state.items()}


def test_checkpoints_with_the_old_names_convert_and_are_gone_on_with(
    trained: Path, tmp_path: Path, workplace: Path, command
) -> None:
    content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    content["state_dict"] = old_names(content["state_dict"])
    assert any("standardiser" in name for name in content["state_dict"])
    (tmp_path / "checkpoints").mkdir()
    torch.save(content, tmp_path / "checkpoints" / "last.ckpt")
    new, old = (load_checkpoint(file).model.state_dict() for file in (trained / "checkpoints" / "last.ckpt", tmp_path))
    assert all(torch.equal(new[name], old[name]) for name in new)
    status, out, err = command(
        "train", "model=adain_vc_small", "debug=tiny", "logger=csv", "data.corpus.max_voices=4",
        "data.corpus.sentences=6", "data.corpus.test_sentences=4", f"paths.data_dir={workplace / 'data'}",
        "max_iterations=6", f"ckpt_path={tmp_path}", f"hydra.run.dir={tmp_path / 'on'}",
    )  # fmt: skip
    assert status == 0 and "resuming from" in out, err
    assert any(line.startswith("trainer   1 x cpu") for line in out.splitlines()), "sizes are lines of their own"


def test_the_weights_that_ship_have_the_old_names_and_are_read() -> None:
    assert float(revoice.load().model.standardizer.std.min()) > 0


def test_settings_by_their_old_names_say_the_new_one(command, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        controls = RandomCNN.typed_controls({"optimiser": "adam", "normalise": "duration"})
    assert (controls.optimizer, controls.normalize) == ("adam", "duration")
    assert re.search("optimiser= is called optimizer= now", caplog.text)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        status, _, err = command("evaluate", "evaluation=gram_identification", "evaluation.normalise=[sideways]")
    assert status == 2 and "evaluation.normalize" in err and "evaluation.normalise=" in caplog.text
