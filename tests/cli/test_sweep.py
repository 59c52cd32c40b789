"""Sweeps by the command line: folders, configs, metrics, the table, failed jobs, launchers, GPUs."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from revoice.cli.sweep import claimed, waited_for
from revoice.training.sweep import Job, best_first, draw, read_jobs, swept, write_table
from tests.conftest import ROOT, TINY, VQVAE

SMALL = [*VQVAE, "debug=tiny", "logger=none", "trainer=cpu", *TINY]


def sweep(
    workplace: Path, name: str, *overrides: str, timeout: float = 250
) -> tuple[Path, subprocess.CompletedProcess]:
    folder = workplace / "outputs" / name
    command = [sys.executable, str(ROOT / "train.py"), "-m", *overrides, f"hydra.sweep.dir={folder}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return folder, subprocess.run(
        command, cwd=workplace, capture_output=True, text=True, timeout=timeout, env=environment
    )


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_grid_of_four_jobs_one_kind_of_which_fails(workplace: Path, command) -> None:
    grid = ["optimizer.lr=1e-3,1e-4", "model.quantizer.codebook_size=16,1", "max_iterations=2", "trainer.val_every=1"]
    folder = workplace / "outputs" / "grid"
    status, out, err = command("train", "-m", *SMALL, *grid, f"hydra.sweep.dir={folder}")
    assert status == 1 and "2 of 4 jobs failed" in err
    jobs = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    assert [job.name for job in jobs] == ["0", "1", "2", "3"]
    given = [yaml.safe_load((job / ".hydra" / "config.yaml").read_text()) for job in jobs]
    assert [c["model"]["quantizer"]["codebook_size"] for c in given] == [16, 1, 16, 1]
    assert [c["optimizer"]["lr"] for c in given] == [1e-3, 1e-3, 1e-4, 1e-4]
    for job, works in zip(jobs, (True, False, True, False), strict=True):
        assert (job / "metrics.json").is_file() == (job / "checkpoints" / "best.ckpt").is_file() == works
        assert not (job / "checkpoints" / "last.ckpt").exists()
        assert (job / "error.txt").is_file() != works
    assert "codebook_size=1" in (jobs[1] / "error.txt").read_text()

    table = rows(folder)
    scores = [float(row["best/val/loss"]) for row in table[:2]]
    assert scores == sorted(scores) and {row["job"] for row in table[:2]} == {"0", "2"}
    measured = json.loads((folder / table[0]["job"] / "metrics.json").read_text())["best/val/loss"]
    assert scores[0] == measured
    assert all("expected a whole number from 2" in row["error"] for row in table[2:])
    assert "best/val/loss" in out and (folder / "sweep.png").stat().st_size > 1000


def test_a_sweep_in_the_folder_of_another_lists_its_own_jobs_alone(workplace: Path, command) -> None:
    """What an earlier job left there is no result of one that failed, nor of a job that this sweep does not have."""
    folder = workplace / "outputs" / "again"
    short = ["max_iterations=1", "trainer.val_every=1", f"hydra.sweep.dir={folder}"]
    assert command("train", "-m", *SMALL, "seed=0,1", *short)[0] == 0
    status, _, err = command("train", "-m", *SMALL, "model.quantizer.codebook_size=1", *short)
    assert status == 1 and "1 of 1 jobs failed" in err
    (only,) = rows(folder)
    assert only["job"] == "0" and not only["best/val/loss"] and "codebook_size=1" in only["error"]


@pytest.mark.slow
def test_a_sweep_that_is_repeated_goes_on(workplace: Path, command) -> None:
    """By `ckpt_path=auto`: jobs that came to their end are not trained again, unless a setting is another."""
    folder = workplace / "outputs" / "repeated"
    short = ["max_iterations=1", "trainer.val_every=1", "ckpt_path=auto", f"hydra.sweep.dir={folder}"]
    assert command("train", "-m", *SMALL, "seed=0,1", *short)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/checkpoints/best.ckpt")}
    status, out, _ = command("train", "-m", *SMALL, "seed=0,2", *short)
    assert status == 0 and "already done: job 0" in out and "already done: job 1" not in out
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path.parts[-3] for path in sorted(before) if before[path] != after[path]] == ["1"]
    assert {row["seed"]: bool(row["best/val/loss"]) for row in rows(folder)} == {"0": True, "2": True}


def test_a_metric_that_no_job_ends_with_is_refused_before_any_work(workplace: Path, command) -> None:
    folder = workplace / "outputs" / "unmeasured"
    for metric, said in (("val/reconstructoin", "did you mean 'val/reconstruction'"), ("checkpoint", "unknown")):
        status, _, err = command(
            "train", "-m", *SMALL, "seed=0,1", f"optimized_metric={metric}", f"hydra.sweep.dir={folder}"
        )
        assert status == 1 and said in err and "2 of 2 jobs failed" in err
        assert not list(folder.glob("*/checkpoints"))


def test_a_search_whose_jobs_all_fail_ends_with_its_table(workplace: Path, command) -> None:
    folder = workplace / "outputs" / "hopeless"
    search = ["hparams_search=vqvae_optuna", "hydra.sweeper.n_trials=2", "model.voice_dim=0"]
    status, _, err = command("train", *search, *SMALL, f"hydra.sweep.dir={folder}")
    assert status == 1 and "2 of 2 jobs failed" in err and "Traceback" not in err
    assert all("model.voice_dim=0" in row["error"] for row in rows(folder))


def test_jobs_of_two_processes_are_shown(workplace: Path, command) -> None:
    folder = workplace / "outputs" / "shown"
    status, out, err = command(
        "train", "-m", *SMALL, "trainer.devices=2", "show=true", "seed=0,1", f"hydra.sweep.dir={folder}"
    )
    assert status == 0 and not err and out.count("2 x cpu") == 2


@pytest.mark.slow
def test_two_jobs_of_two_processes(workplace: Path) -> None:
    folder, done = sweep(workplace, "wide", *SMALL, "trainer.devices=2", "optimizer.lr=1e-3,1e-4", timeout=240)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in sorted(folder.iterdir()) if path.is_dir()] == ["0", "1"]
    table = rows(folder)
    assert {row["optimizer.lr"] for row in table} == {"0.001", "0.0001"} and all(row["val/loss"] for row in table)
    lines = [line for line in done.stdout.splitlines() if line.startswith("trainer ")]
    assert len(lines) == 2 and all("2 x cpu" in line for line in lines)  # no job was started twice


@pytest.mark.slow
def test_optuna_with_two_jobs_side_by_side(workplace: Path) -> None:
    side = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4"]
    folder, done = sweep(workplace, "optuna", "hparams_search=vqvae_optuna", *SMALL, *side)
    assert done.returncode == 0, done.stderr
    table = rows(folder)
    assert len(table) == 4 and len({row["optimizer.lr"] for row in table}) == 4
    scores = [float(row["val/reconstruction"]) for row in table]
    assert scores == sorted(scores)
    best = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert best["best_value"] == pytest.approx(scores[0])


@pytest.mark.slow
@pytest.mark.parametrize(("search", "jobs"), [("speech2speech_grid", 12), ("speech2speech_variants", 16)])
def test_published_grids(search: str, jobs: int, workplace: Path) -> None:
    small = ["model.channels=8", "debug=tiny", "max_iterations=1", "trainer.val_every=1", "logger=none", "trainer=cpu"]
    folder, done = sweep(workplace, search, f"hparams_search={search}", *small, *TINY)
    assert done.returncode == 0, done.stderr
    table = rows(folder)
    assert len(table) == jobs
    names = [key for key in table[0] if key == "features" or key.startswith(("model.", "data.", "optimizer."))]
    assert len({tuple(row[name] for name in names) for row in table}) == jobs


@pytest.mark.slow
def test_submitit(workplace: Path) -> None:
    folder, done = sweep(workplace, "submitit", *SMALL, "hydra/launcher=submitit_local", "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert len(rows(folder)) == 2


def test_a_direction_that_does_not_exist_is_refused_before_the_first_job(workplace: Path) -> None:
    folder, done = sweep(workplace, "wrong", *SMALL, "optimized_direction=minimum", "seed=0,1")
    assert done.returncode == 2 and "did you mean 'minimize'" in done.stderr
    assert not list(folder.glob("*/checkpoints"))


JOBS = [
    Job("0", {"lr": "1e-3", "seed": "0", "model": "a"}, {"score": 2.0, "val": 1}),
    Job("1", {"lr": "1e-4", "seed": "0", "model": "b"}, {"score": 1.0}),
    Job("2", {"lr": "1e-5", "seed": "0", "model": "b"}, {}, "out of memory"),
    Job("3", {"lr": "1e-6", "seed": "0", "model": "b"}, {"score": float("nan")}),
]


def test_order_and_table(tmp_path: Path) -> None:
    assert swept(JOBS) == ["lr", "model"]
    assert [job.name for job in best_first(JOBS, "score", "minimize")][:2] == ["1", "0"]
    assert [job.name for job in best_first(JOBS, "score", "maximize")][:2] == ["0", "1"]
    write_table(best_first(JOBS, "score", "minimize"), "score", tmp_path / "sweep.csv")
    table = rows(tmp_path)
    assert [row["job"] for row in table[:2]] == ["1", "0"] and table[1]["val"] == "1"
    assert table[2]["error"] == "out of memory"
    assert best_first(JOBS[:2], "model", "minimize") == JOBS[:2]  # nothing to go by
    draw(JOBS, "score", tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").stat().st_size > 1000


def test_a_job_that_was_killed_is_listed(tmp_path: Path) -> None:
    (tmp_path / "0" / ".hydra").mkdir(parents=True)
    (tmp_path / "0" / ".hydra" / "overrides.yaml").write_text("- seed=3\n- +model.perturb=0.1\n")
    (job,) = read_jobs(tmp_path)
    assert job.error == "it did not end" and job.overrides == {"seed": "3", "model.perturb": "0.1"}


def test_gpus_are_held_by_one_job_at_a_time(tmp_path: Path) -> None:
    held: set[str] = set()
    most = []

    def job(count: int) -> None:
        with claimed(count, ["0", "1", "2"], tmp_path) as mine:
            assert len(mine) == count and not held & set(mine)
            held.update(mine)
            most.append(len(held))
            time.sleep(0.3)
            held.difference_update(mine)

    threads = [threading.Thread(target=job, args=(count,)) for count in (1, 2, 3, 2, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(most) == 5 and max(most) == 3


def test_a_signal_is_for_the_interpreter_that_has_the_job(tmp_path: Path) -> None:
    """It may save; a sweep that dies alone would leave it behind."""
    ready = tmp_path / "ready"
    job = (
        "import pathlib, signal, sys, time\n"
        "def save(*_): pathlib.Path(sys.argv[1]).write_text('saved'); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "time.sleep(60)\n"
    )

    def stop() -> None:
        while not ready.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=stop).start()
    with pytest.raises(SystemExit) as ended:
        waited_for([sys.executable, "-c", job, str(ready)], os.environ)
    assert ended.value.code == 143 and ready.read_text() == "saved"
    assert signal.getsignal(signal.SIGTERM) == before
    assert waited_for([sys.executable, "-c", "import sys; sys.exit('error: no')"], os.environ) == (1, "error: no\n")


def prepare(place: Path, *overrides: str) -> subprocess.CompletedProcess:
    """Prepare six clips, one to a shard, by a sweep of shares."""
    for clip in range(6):
        path = place / "voices" / f"s{clip % 2}" / f"{clip}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * np.sin(np.arange(8000) * 0.05 * (clip + 1)), 16000)
    command = [sys.executable, "-m", "revoice.cli.prepare", "-m", "data=folder", "data.root=voices"]
    command += ["data.prepare.shard_utterances=1", "data.prepare.workers=0", *overrides]
    environment = {**os.environ, "REVOICE_DATA": str(place / "data")}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=200)


@pytest.mark.slow
def test_a_preparation_is_shared_by_the_jobs_of_a_sweep(tmp_path: Path) -> None:
    done = prepare(tmp_path, "prepare.shard=range(0,3)")
    assert done.returncode == 0, done.stderr
    assert "share 0 of 3 is done; other shares have 4 shards to write" in done.stdout
    assert "6 utterances of 2 speakers" in done.stdout  # the last share merges
    index = next((tmp_path / "data").rglob("index.json"))
    assert json.loads(index.read_text())["stored"] == 6
    done = prepare(tmp_path, "prepare.shard=1,7", "fields=[f0]")
    assert done.returncode == 1 and "job 1 failed: prepare.shard=7 of prepare.shards=2" in done.stderr
    assert "share 1 of 2 is done" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [["joblib", "hydra.launcher.n_jobs=2"], ["submitit_local"]], ids=lambda x: x[0])
def test_shares_at_once_are_merged_by_whichever_ends_last(tmp_path: Path, launcher: list[str]) -> None:
    done = prepare(tmp_path, "prepare.shard=range(0,3)", f"hydra/launcher={launcher[0]}", *launcher[1:])
    assert done.returncode == 0, done.stderr
    index = next((tmp_path / "data").rglob("index.json"))
    assert json.loads(index.read_text())["stored"] == 6
    alone = prepare(tmp_path / "alone", "prepare.shard=0", "prepare.shards=1")
    assert alone.returncode == 0, alone.stderr
    folders = [index.parent, next((tmp_path / "alone" / "data").rglob("index.json")).parent]
    written = [{path.name: path.read_bytes() for path in folder.glob("shard-*")} for folder in folders]
    assert len(written[0]) >= 12 and written[0] == written[1]
