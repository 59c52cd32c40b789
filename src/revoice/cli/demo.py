"""`make demo`: speak the embedded corpus, train the converter that ships on it, convert unseen voices, report."""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revoice.atomic import require_ours
from revoice.cli.app import run
from revoice.cli.evaluate import evaluate
from revoice.cli.train import task as train
from revoice.errors import UserError

if TYPE_CHECKING:
    from revoice.evaluation.examples import Example

FOLDER = Path("outputs") / "demo"


def task(values: dict[str, Any], folder: Path) -> None:
    """Train as `experiment=demo` says, then evaluate; leaves model.ckpt, metrics.json, report.html and three clips."""
    from revoice.evaluation.session import FILES

    # make says when it began, so that the time includes the installation
    began = float(os.environ.get("REVOICE_DEMO_BEGAN", time.time()))
    out = Path(values["paths"]["output_dir"]) / "demo"
    require_ours(out, FILES)
    trained = train(values, folder)
    if os.environ.get("LOCAL_RANK", "0") != "0":  # a second training process has no further duties
        return
    if trained is None or trained.checkpoint is None:
        raise UserError("the demo needs a trained model: leave show=true out")
    model = out / "model.ckpt"
    shutil.copyfile(trained.checkpoint, model)
    seconds = {
        "training_seconds": trained.metrics["seconds"],
        "iterations": trained.metrics["iterations"],
        "wall_seconds": lambda: round(time.time() - began, 1),
    }
    settings = {
        **values,
        "device": None,
        "model": None,
        "controls": {},
        "logger": None,
    }  # the model is that of the checkpoint
    evaluation = evaluate([str(model)], settings, out, seconds)["model"]
    examples = evaluation.examples.get("unseen") or next(iter(evaluation.examples.values()))
    folder = _example(out, examples[0])
    print(f"trained:    {_reached(values, trained.metrics)}")
    print(f"checkpoint: {model}\nlisten:     {folder}\nall of it took {time.time() - began:.0f} s")


def _reached(values: dict[str, Any], metrics: dict[str, Any]) -> str:
    """How far the training came, which a slow machine's ends by the clock."""
    done, wanted = metrics["iterations"], int(values["max_iterations"])
    text = f"{done} of {wanted} iterations in {metrics['seconds']:.0f} s"
    if metrics.get("interrupted"):
        text += f" (trainer.max_time={values['trainer']['max_time']}); the longer, the better: trainer.max_time=null"
    return text


def _example(out: Path, example: "Example") -> Path:
    """The clips of one conversion of the report as files."""
    from revoice.audio.io import write_audio

    folder = out / "example"
    result = example.result
    clips = {"source": result.source, "target": result.references[0], "converted": result.converted}
    for name, clip in clips.items():
        write_audio(folder / f"{name}.wav", clip.samples, clip.sample_rate)
    return folder


def main() -> None:
    """Entry point of `revoice-demo`; further overrides are those of train.py."""
    sys.argv = [sys.argv[0], "experiment=demo", *sys.argv[1:]]
    run("train", task)
