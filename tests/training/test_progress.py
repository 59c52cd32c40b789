"""What is said of a training before it begins and while it runs."""

import logging
from pathlib import Path

import pytest

from revoice.data.corpora import synthetic
from revoice.training.build import build, describe
from revoice.training.callbacks.progress import _Progress
from revoice.training.config import check
from revoice.training.run import train
from tests.conftest import TINY, VQVAE, compose_config


def test_a_long_training_is_told_apart_once_and_a_short_one_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    for total, words in ((100_000, "about 55.6 h for 100,000 iterations"), (50, "")):
        bar = _Progress(total, 0.01, 20.0)
        bar.first = 0
        bar._tell(seconds=10.0, done=5)
        said = capsys.readouterr().out
        assert said.startswith(words) and bool(said) == bool(words) and bar.told


def test_a_line_without_a_terminal_shows_the_time_left(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = compose_config("train", *VQVAE, "debug=tiny", "logger=none", *TINY, folder=workplace)
    config["callbacks"] = {"progress": {"line_every": 0.0}}
    train(config, workplace / "outputs" / "lines")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("iteration ")]
    assert len(lines) == 4 and all(" left  loss " in line for line in lines) and "iteration 4/4  0 s left" in lines[-1]


def test_sizes_are_said_beforehand(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = compose_config("train", *VQVAE, "debug=tiny", *TINY, folder=workplace)
    parts = build(config, check(config))
    megabytes = 2 * 4e-6 * sum(p.numel() for p in parts.model.parameters())  # Muon keeps one number for each weight
    assert f"best.ckpt and last.ckpt of about {megabytes:,.0f} MB each" in describe(parts, config)

    monkeypatch.setattr(synthetic, "make_corpus", lambda *arguments, **settings: None)
    with caplog.at_level(logging.INFO, logger="revoice"):
        synthetic.Synthetic(tmp_path).make()
    assert "13,160 clips will be spoken" in caplog.text and "1263 MB" in caplog.text
