"""What needs processes of its own: two ranks over gloo, and an installed wheel in an empty folder."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, TINY, compose_config
from tests.forks import end, start
from tests.integration.adversarial import config as adversarial
from tests.integration.recorded_run import record

NARROW = ["model.encoder.channels=128", "model.decoder.channels=64", "model.quantizer.codebook_size=32"]
ADVERSARIAL = "two critics, three phases"
JUDGES = ["vocoder.frames=32", "critics.period.width=2", "critics.period.periods=[2,3]"]
SYSTEMS = {
    "adain_vc_small": [],
    "vqvae_speech2speech": ["model.channels=128"],
    "vqvae_zerospeech": [*NARROW, "model.frames=64", "optimizer.lr=1e-4"],
    ADVERSARIAL: [],
    "vocos": ["vocoder.dim=16", "vocoder.hidden=16", "vocoder.layers=1", *JUDGES, "critics.resolution.width=4"],
    "hifigan": ["vocoder.channels=16", "vocoder.block_kernels=[3]", "vocoder.dilations=[[1,2]]", *JUDGES,
                "critics.scale.width=16"],
    "waveglow": ["vocoder.channels=8", "vocoder.layers=2", "vocoder.flows=6", "vocoder.upsample=linear"],
    "source_filter": ["vocoder.dim=16", "vocoder.hidden=16", "vocoder.layers=1"],
}  # fmt: skip
VOCODERS = ("vocos", "hifigan", "waveglow", "source_filter")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.mark.slow
@pytest.mark.parametrize("model", SYSTEMS)
def test_two_processes_train_as_one(model: str, workplace: Path) -> None:
    """Two processes, placed as torchrun places them, against one, at the same global batch, in double precision."""
    iterations, items = (4, 4) if model in VOCODERS else (10, 16)  # whose critics take long
    sizes = [f"max_iterations={iterations}", f"trainer.val_every={iterations}", f"data.batch_size={items}"]
    settings = ["debug=tiny", "logger=none", "trainer=cpu", *sizes, *TINY]
    runs = {}
    for devices in (1, 2):
        folder = workplace / "outputs" / f"{model}_{devices}"
        folder.mkdir(parents=True)
        values = [*settings, *SYSTEMS[model], f"trainer.devices={devices}"]
        if model == ADVERSARIAL:
            config = adversarial(workplace, *values)
            config["model"]["dropout"] = 0.0  # each process draws its own
        else:
            kind = "vocoder" if model in VOCODERS else "model"
            config = compose_config("train", f"{kind}={model}", *values, folder=workplace)
        end(start(record, config, folder))
        state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        runs[devices] = (torch.load(folder / "record0.pt", weights_only=True), state)
    (one, one_state), (two, two_state) = runs[1], runs[2]

    turns = {ADVERSARIAL: 3 + 3 * 3 + 2 * 4 + 2 * 3, "vocos": 4 * 3, "hifigan": 4 * 3}
    assert len(one["losses"]) == turns.get(model, iterations)  # one of each turn
    assert torch.stack(two["losses"]) == pytest.approx(torch.stack(one["losses"]), rel=1e-9)
    for part, gradients in one["gradients"].items():
        largest = max(float(gradient.abs().max()) for gradient in gradients.values())
        for name, gradient in gradients.items():
            assert float((two["gradients"][part][name] - gradient).abs().max()) < 1e-9 * largest, (part, name)
    assert any("quantizer" in name for name in one_state) == model.startswith("vqvae")
    for name, value in one_state.items():
        difference = float((two_state[name].double() - value.double()).abs().max())
        assert difference <= 1e-9 * max(1.0, float(value.double().abs().max())), name


@pytest.mark.slow
def test_the_command_starts_its_own_second_process_or_torchrun_does(workplace: Path, command) -> None:
    settings = ["model=vqvae_small", "debug=tiny", "logger=csv", "trainer=cpu", *TINY]
    alone = workplace / "outputs" / "processes_1"
    status, _, err = command("train", *settings, "trainer.devices=1", f"hydra.run.dir={alone}")
    assert status == 0, err
    one = json.loads((alone / "metrics.json").read_text())
    for number, launcher in enumerate(([], TORCHRUN)):
        folder = workplace / "outputs" / f"processes_2_{number}"
        program = [sys.executable, *launcher, str(ROOT / "train.py"), *settings, "trainer.devices=2"]
        run_program([*program, f"hydra.run.dir={folder}"], workplace)
        two = json.loads((folder / "metrics.json").read_text())
        assert two["iterations"] == one["iterations"] == 4
        assert two["val/loss"] == pytest.approx(one["val/loss"], rel=1e-4)
        assert two["train/loss"] == pytest.approx(one["train/loss"], rel=1e-4)  # the mean over both


@pytest.mark.slow
def test_processes_started_from_outside_need_a_folder(workplace: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "debug=tiny", "trainer=cpu", "trainer.devices=2", *TINY]
    place = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "x"}
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True, env={**os.environ, **place})
    assert done.returncode == 2 and "hydra.run.dir=outputs/my_run" in done.stderr


def run_program(command: list[str], folder: Path) -> str:
    """Run to its end; what it printed."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
