"""`python train.py model=... data=... key=value ...`."""

import json
import math
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from revoice.audio.presets import config_dir
from revoice.cli import sweep
from revoice.cli.app import run, to_json
from revoice.cli.quoting import SWEEPS
from revoice.errors import UserError


@dataclass(frozen=True)
class Trained:
    """What a job gives back to Hydra: `objective` is the number a sweep compares."""

    folder: Path
    checkpoint: Path | None
    metrics: dict[str, Any]
    objective: float | None


def task(values: dict[str, Any], folder: Path) -> Trained | None:
    """Train one configuration; a job of a sweep that fails gives None, and the sweep goes on."""
    return sweep.guarded(lambda: _job(values, folder), folder) if sweep.sweeping() else _train(values, folder)


def _job(values: dict[str, Any], folder: Path) -> Trained:
    from revoice.training.sweep import clear, done_before, keep_weights, mark_done

    goes_on = values["ckpt_path"] == "auto"
    if not values["show"]:
        if goes_on and (metrics := done_before(folder, values)) is not None:
            print(f"already done: job {folder.name}", flush=True)
            return _trained(folder, metrics, values)
        clear(folder, goes_on)
    trained = _run_job(values, folder)
    if trained.checkpoint is not None and not trained.metrics.get("interrupted"):  # else it may be gone on with
        if values["sweep_keeps"] == "weights":
            keep_weights(folder)
        mark_done(folder, values)
    return trained


def _run_job(values: dict[str, Any], folder: Path) -> Trained:
    needs = sweep.needs(values)
    if values["show"] or (needs.processes == 1 and not needs.gpus):
        return _train(values, folder, compared=True)
    from revoice.training.config import check

    check(values, compared=True)  # the other interpreter knows of no sweep
    sweep.in_fresh_interpreter(folder, needs.gpus)
    return _trained(folder, json.loads((folder / "metrics.json").read_text(encoding="utf-8")), values)


def _trained(folder: Path, metrics: dict[str, Any], values: dict[str, Any]) -> Trained:
    kept = metrics["checkpoint"]
    return Trained(folder, Path(kept) if kept else None, metrics, _objective(metrics, values))


def _objective(metrics: dict[str, Any], values: dict[str, Any]) -> float | None:
    """The number that jobs are compared by; None where it is none, which Optuna takes for a failure."""
    found = metrics.get(values["optimized_metric"])
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else None


def _train(values: dict[str, Any], folder: Path, compared: bool = False) -> Trained:
    from revoice.training.run import train

    _require_one_folder()
    outcome = train(values, folder, compared)
    if outcome.metrics and os.environ.get("LOCAL_RANK", "0") == "0":
        shown = {name: value for name, value in outcome.metrics.items() if not name.startswith("train/")}
        hint = _hint(outcome.folder, outcome.checkpoint) if outcome.checkpoint else ""
        print(to_json(shown) + f"run folder: {outcome.folder}{hint}")
    if outcome.stopped:
        print(outcome.stopped, flush=True)
        if outcome.by_signal and not _launched():
            sys.exit(sweep.STOPPED)
    return Trained(outcome.folder, outcome.checkpoint, outcome.metrics, _objective(outcome.metrics, values))


def _launched() -> bool:
    """Whether this is a further process of a run, started by its first: which takes any status but 0 for a crash."""
    return os.environ.get("LOCAL_RANK", "0") != "0" and not _placed()


def _placed() -> bool:
    """Whether torchrun or SLURM started the processes."""
    return "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_PROCID" in os.environ


def _hint(folder: Path, checkpoint: Path) -> str:
    """The command that converts with what was trained; a model with a table of speakers takes a name."""
    from revoice.checkpoint.load import load_checkpoint
    from revoice.models.base import ConversionModel
    from revoice.vocoders.base import Vocoder

    loaded, path = load_checkpoint(checkpoint), shlex.quote(str(folder))
    if isinstance(loaded.model, Vocoder):
        return f"\nconvert:    python convert.py src=a.wav tgt=b.wav vocoder={loaded.model.name} vocoder.ckpt={path}"
    if not isinstance(loaded.model, ConversionModel):
        return ""
    if loaded.model.alone or loaded.model.target == "none":
        return f"\nconvert:    python convert.py ckpt={path} src=a.wav"
    target = shlex.quote(loaded.description.speakers[0]) if loaded.model.target == "speaker" else "b.wav"
    return f"\nconvert:    python convert.py ckpt={path} src=a.wav tgt={target}"


def _require_one_folder() -> None:
    """Processes that torchrun or SLURM started would each name the run folder after their own clock."""
    several = any(int(os.environ.get(name, "1")) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS"))
    if several and _placed() and not any(o.startswith("hydra.run.dir=") for o in HydraConfig.get().overrides.hydra):
        raise UserError(
            "several processes were started from outside, which could not agree on a run folder: "
            "add hydra.run.dir=outputs/my_run"
        )


def with_what_it_starts_from(arguments: list[str]) -> list[str]:
    """Where a run starts from a checkpoint and nothing says what it trains, it is what lies there.

    The converter that ships goes on by a recipe of its own.

    >>> with_what_it_starts_from(["init_from=default", "data=vctk"])
    init_from=default: experiment=finetune
    ['experiment=finetune', 'init_from=default', 'data=vctk']
    """
    given = {key.lstrip("+~"): value for key, _, value in (argument.partition("=") for argument in arguments)}
    start = given.get("init_from", "").strip("'\"")
    if start in ("", "null") or given.keys() & {"model", "vocoder", "experiment"}:
        return arguments
    from revoice.checkpoint.load import described, find_checkpoint, load_checkpoint, shipped

    if {*SWEEPS} & {*arguments} and re.search(r"[,(]", start) and not Path(start).exists():  # swept: of several kinds
        return arguments
    found = find_checkpoint(start)
    if found == shipped("voice"):
        chosen = "experiment=finetune"
    else:
        about = described(found) or load_checkpoint(found).description
        chosen = f"{about.kind}={about.model}"
        if not (config_dir() / about.kind / f"{about.model}.yaml").is_file():
            return arguments
    print(f"init_from={start}: {chosen}", flush=True)
    return [chosen, *arguments]


def main() -> None:
    """Entry point of `revoice-train`."""
    run("train", task, completed=with_what_it_starts_from)


if __name__ == "__main__":
    main()
