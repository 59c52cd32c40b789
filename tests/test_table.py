"""The table of all systems: its list is one that train.py and evaluate.py take."""

import csv
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from revoice.cli import evaluate
from revoice.training import config as training
from tests.conftest import ROOT, compose_config

PLAN = yaml.safe_load((ROOT / "benchmarks/table/systems.yaml").read_text(encoding="utf-8"))


def runner():
    spec = importlib.util.spec_from_file_location("table_run", ROOT / "benchmarks/table/run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [name for name, line in PLAN["systems"].items() if line])
def test_every_system_is_one_that_can_be_trained(name: str, tmp_path: Path) -> None:
    overrides = [*PLAN["systems"][name].split(), *PLAN["data"].split(), *PLAN["training"].split()]
    training.check(compose_config("train", *overrides, folder=tmp_path))


def test_the_evaluation_is_one_that_can_be_made(tmp_path: Path) -> None:
    evaluate.check(
        compose_config(
            "evaluate",
            *PLAN["data"].split(),
            *PLAN["evaluation"].split(),
            f"model={PLAN['untrained']}",
            folder=tmp_path,
        )
    )


def test_the_table_shows_intervals_of_unseen_voices(tmp_path: Path) -> None:
    lines = [
        ["system", "group", "condition", "metric", "mean", "low", "high", "trials", "better"],
        ["a", "unseen", "all", "cosine_target", "0.8", "0.7", "0.9", "30", "higher"],
        ["a", "unseen", "F to M", "cosine_target", "0.1", "0.0", "0.2", "7", "higher"],
        ["a", "seen", "all", "cosine_target", "0.2", "", "", "30", "higher"],
        ["a", "unseen", "all", "per_converted", "0.25", "", "", "30", "lower"],
        ["(source)", "unseen", "all", "cosine_target", "", "", "", "0", "higher"],
    ]
    with (tmp_path / "metrics.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)
    text = runner().table(tmp_path).splitlines()
    assert text[0] == "| system | cosine to the target | phone errors |"
    assert text[2] == "| a | 0.80 (0.70 to 0.90) | 0.25 |" and text[3] == "| (source) |  |  |"


@pytest.mark.parametrize(
    ("metrics", "again"),
    [
        ({}, False),
        ({"stopped": "trainer.max_time=00:00:20:00 is over at iteration 640 of 1500", "interrupted": True}, False),
        ({"stopped": "stopped by a signal at iteration 235 of 1500", "interrupted": True}, True),
    ],
)
def test_only_what_a_signal_stopped_goes_on(
    metrics: dict, again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, started = runner(), []
    monkeypatch.setattr(
        module.subprocess, "run", lambda command, **_: started.append(command) or SimpleNamespace(returncode=0)
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "a/metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    module.train("a", "model=vqvae_small", PLAN, tmp_path)
    assert bool(started) == again
