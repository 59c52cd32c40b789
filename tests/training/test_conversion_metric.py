"""Checkpoints chosen by measured conversions."""

import math
from pathlib import Path

import pytest

from revoice.cli.train import task as train
from revoice.errors import UserError
from revoice.evaluation import listeners
from revoice.training.callbacks.conversion import ERRORS, LOGGED, SCORE, numbers, score, validation_trials
from revoice.training.module import VoiceModule
from tests.conftest import ADAIN, TINY, compose_config
from tests.evaluation.test_pairs import corpus


@pytest.mark.slow
def test_a_checkpoint_is_chosen_by_the_score(workplace: Path) -> None:
    settings = [*ADAIN, "debug=tiny", "logger=csv", *TINY, "metrics=conversion", "callbacks.conversion.voices=2"]
    config = compose_config("train", *settings, "callbacks.samples=null", folder=workplace)
    done = train(config, workplace / "outputs" / "by_conversion")
    assert {"conversion/cosine_target", "conversion/error_rate", "conversion/error_rate_copy", SCORE} <= set(
        done.metrics
    )
    assert 0 <= done.metrics[SCORE] <= done.metrics[f"best/{SCORE}"] <= 1
    assert (done.folder / "checkpoints" / "best.ckpt").is_file()


def test_without_a_recognizer_nothing_is_chosen_by_the_score(workplace: Path) -> None:
    settings = [*ADAIN, "debug=tiny", "logger=csv", *TINY, "metrics=conversion", "callbacks.conversion.recognizer=null"]
    config = compose_config("train", *settings, folder=workplace)
    with pytest.raises(UserError, match="no recognizer counts errors"):
        train(config, workplace / "outputs" / "deaf")


@pytest.mark.parametrize(
    ("recognizer", "words"),
    [
        ({"name": "whisper", "path": "no_such_package"}, "no_such_package|faster-whisper is not installed"),
        ("phones", "no recognizer is installed"),
    ],
)
def test_who_cannot_listen_is_told_before_the_first_iteration(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recognizer: object, words: str
) -> None:
    from revoice.evaluation.recognizers import phones

    monkeypatch.setattr(phones, "SHIPPED", tmp_path / "phones.safetensors")
    monkeypatch.setattr(listeners, "OTHERS", ())
    monkeypatch.setattr(VoiceModule, "training_step", lambda *_: pytest.fail("it learned"))
    settings = [*ADAIN, "debug=tiny", "logger=csv", *TINY, "metrics=conversion", "callbacks.conversion.voices=2"]
    config = compose_config("train", *settings, "callbacks.samples=null", folder=workplace)
    config["callbacks"]["conversion"]["recognizer"] = recognizer
    with pytest.raises(UserError, match=words) as error:
        train(config, tmp_path / "run")
    assert "\n" not in str(error.value)


def test_where_every_conversion_fails_the_score_is_the_worst() -> None:
    record = {"cosine_target": math.nan, "cosine_unconverted": math.nan, "cosine_own": math.nan, "per_converted": 1.0}
    assert numbers({**record, "failed": 3, "trials": 3}) == {SCORE: 0.0, ERRORS: 1.0}
    assert SCORE not in numbers({**record, "failed": 2, "trials": 3})


def test_the_score_wants_both_halves() -> None:
    near = {"cosine_target": 1.0, "cosine_unconverted": 0.6, "cosine_own": 1.0}
    far = {**near, "cosine_target": 0.6}
    assert score(near, wrong=0.2, copied=0.2) == 1.0
    assert score(near, wrong=1.0, copied=0.2) == 0.0  # noise in the right timbre
    assert score(far, wrong=0.0, copied=0.0) == 0.0  # the untouched source
    assert math.isnan(score(near, wrong=math.nan, copied=0.2))
    found = numbers({**near, "failed": 0, "trials": 1, "per_converted": 0.5, "per_copy": 0.0, "silence": math.nan})
    assert found[SCORE] == pytest.approx(0.5) and "conversion/silence" not in found
    assert set(found) <= set(LOGGED)


def test_validation_clips_go_between_training_voices() -> None:
    from dataclasses import replace

    made = corpus(known=False)
    rows = [replace(row, split="val" if row.split == "test_seen" else row.split) for row in made]
    trials = validation_trials(made.with_rows(rows), voices=4, sentences=1, references=2, seed=0)
    assert len(trials) == 12
    for trial in trials:
        assert trial.source.id.startswith("s") and trial.target.startswith("s")
        assert {row.id for row in (trial.source, *trial.references)} <= {
            row.id for row in rows if row.split != "test_unseen"
        }
    with pytest.raises(UserError, match="leave metrics=conversion out"):
        validation_trials(made, voices=4, sentences=1, references=2, seed=0)
