"""Errors of the conversions that are made while training, and checkpoints chosen by them."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from revoice.errors import UserError
from revoice.training.run import train
from tests.conftest import ADAIN, TINY, compose_config

# what it hears changes from clip to clip
CODE = "import sys, hashlib; print(hashlib.md5(open(sys.argv[1], 'rb').read()).hexdigest())"
PROGRAM = f"{shlex.quote(sys.executable)} -c {shlex.quote(CODE)} {{wav}}"
CHOSEN = [*ADAIN, "debug=tiny", "logger=csv", *TINY, "callbacks.checkpoint.monitor=samples/error_rate"]


def config(workplace: Path, **samples: object) -> dict:
    values = compose_config("train", *CHOSEN, folder=workplace)
    values["callbacks"]["samples"] = {"count": 2, **samples}
    return values


@pytest.mark.slow
def test_checkpoints_may_be_chosen_by_the_errors_of_samples(workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = workplace / "outputs" / "by_errors"
    with caplog.at_level("INFO", logger="revoice"):
        train(config(workplace, recognizer={"name": "command", "command": PROGRAM}), folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert 0 < metrics["best/samples/error_rate"] <= metrics["samples/error_rate"]
    assert metrics["samples/error_rate_copy"] > 0 and (folder / "checkpoints" / "best.ckpt").is_file()
    assert metrics["samples/error_rate_source"] > 0 and "errs in" in caplog.text  # the corpus says what is said
    assert "heard by command" in caplog.text and "samples/error_rate" in (folder / "logs" / "metrics.csv").read_text()


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ({"recognizer": "wisper"}, "did you mean 'whisper'"),
        ({"recognizer": None}, "no recognizer counts errors"),
        ({"recognizer": {"name": "command", "command": PROGRAM}, "every": 2}, "callbacks.samples.every=1"),
    ],
)
def test_nothing_is_chosen_by_a_number_that_is_not_there(workplace: Path, samples: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        train(config(workplace, **samples), workplace / "outputs" / "by_nothing")
