"""What every model preset makes, as checksums, to compare before and after: `record_runs.py OUT.json [NAME ...]`.

Each is trained for 12 iterations by one process and by two, stopped at 6 and gone on with, and converts a clip. The
same code on the same machine gives the same file, so a refactoring is right where `diff` is silent. Numbers differ
between machines, so that none are kept.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
COMMON = [
    "debug=tiny", "logger=none", "trainer=cpu", "trainer.threads=1", "trainer.val_every=6", "max_iterations=12",
    "data.corpus.max_voices=4", "data.corpus.sentences=6", "data.corpus.test_sentences=4",
]  # fmt: skip
ON_WHISPER = {"recsyn": "model.content_from", "phone_teacher": "init_from"}
MATCHED = ["model.tune=true", "model.match=true", "model.frames=48", "optimizer.lr=1e-4"]
SETTINGS = {"recsyn": MATCHED, "phone_teacher": ["model.width=16", "model.heads=2", "model.layers=1"]}
OF_A_TABLE = ("vqvae_legacy", "vqvae_speech2speech")  # its speakers alone can be spoken with
UNTRAINED = ("random_cnn", "random_cnn_published")


def run(folder: Path, script: str, *arguments: str) -> None:
    """A command of the repository, to its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / script), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")


def weights(run_folder: Path) -> str:
    """Checksum of the weights that a run ended with."""
    state = torch.load(run_folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        found.update(name.encode() + value.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def converted(folder: Path, *which: str, table: bool = False) -> str:
    """Checksum of a conversion of the embedded voices, into another's or, by a table, into a training speaker's."""
    voices = sorted((folder / "data" / "synthetic").glob("*/wav48_silence_trimmed/p*"))
    first, second = [voice for voice in voices if voice.name.startswith("p9")][:2]
    source = sorted(first.glob("*.flac"))[0]
    target = voices[0].name if table else sorted(second.glob("*.flac"))[1]
    run(folder, "convert.py", *which, f"src={source}", f"tgt={target}", "out=made.wav")
    return hashlib.sha256((folder / "made.wav").read_bytes()).hexdigest()[:16]


def record(name: str, folder: Path, teacher: Path) -> dict[str, Any]:
    """Everything of one preset."""
    if name in UNTRAINED:
        return {"converted": converted(folder, f"model={name}", "seed=1", "iterations=10")}
    settings = [f"model={name}", *COMMON, *SETTINGS.get(name, [])]
    if name in ON_WHISPER:
        settings.append(f"{ON_WHISPER[name]}={teacher}")
    runs = {"one": [], "two": ["trainer.devices=2"], "stopped": ["max_iterations=6"]}
    for label, more in runs.items():
        run(folder, "train.py", *settings, *more, f"hydra.run.dir=outputs/{name}_{label}")
    went_on = f"ckpt_path=outputs/{name}_stopped"
    run(folder, "train.py", *settings, went_on, f"hydra.run.dir=outputs/{name}_resumed")
    found = {label: weights(folder / "outputs" / f"{name}_{label}") for label in ("one", "two", "resumed")}
    if not name.startswith("phone"):
        found["converted"] = converted(folder, f"ckpt=outputs/{name}_one", table=name in OF_A_TABLE)
    return found


def main() -> None:
    """Write the file."""
    out = Path(sys.argv[1]).resolve()
    names = sys.argv[2:] or sorted(file.stem for file in (ROOT / "configs" / "model").glob("*.yaml"))
    found = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        teacher = folder / "whisper.safetensors"
        program = (
            "import sys, torch; from tests.whisper_teacher import write_teacher; "
            "from pathlib import Path; write_teacher(Path(sys.argv[1]))"
        )
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        subprocess.run([sys.executable, "-c", program, str(teacher)], check=True, env=environment)
        run(folder, "prepare.py", *COMMON[-3:])
        for name in names:
            found[name] = record(name, folder, teacher)
            print(name, found[name], flush=True)
            out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
