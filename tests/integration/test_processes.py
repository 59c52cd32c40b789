"""What needs processes of its own: two ranks over gloo, and an installed wheel in an empty folder."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, TINY


@pytest.mark.slow
def test_two_processes_train_one_model(workplace: Path) -> None:
    settings = ["model=adain_vc_small", "debug=tiny", "logger=csv", "trainer=cpu", *TINY]
    command = [sys.executable, str(ROOT / "train.py"), *settings]
    for devices in (1, 2):
        folder = workplace / "outputs" / f"processes_{devices}"
        subprocess.run(
            [*command, f"trainer.devices={devices}", f"hydra.run.dir={folder}"], cwd=workplace, check=True, timeout=280,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
        )  # fmt: skip
    one, two = (json.loads((workplace / "outputs" / f"processes_{n}" / "metrics.json").read_text()) for n in (1, 2))
    assert two["iterations"] == one["iterations"] == 4
    assert two["val/loss"] == pytest.approx(one["val/loss"], rel=1e-3)


@pytest.mark.slow
def test_an_installed_wheel_works_in_an_empty_folder(tmp_path: Path, trained: Path, workplace: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)], check=True,
        capture_output=True, timeout=200,
    )  # fmt: skip
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    clip = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed/p901/*.flac"))
    arguments = [f"ckpt={trained}", f"src={clip}", f"tgt={clip}", "out=x.wav"]
    program = "import revoice, sys; print(revoice.__file__); from revoice.cli.convert import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=empty, capture_output=True, text=True, timeout=200,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout and (empty / "x.wav").is_file()
