"""A training run from plain settings: data, model, trainer, and what is left in the run folder."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from revoice.atomic import write_text
from revoice.checkpoint.load import Loaded
from revoice.checkpoint.vocoder import load_vocoder
from revoice.errors import UserError
from revoice.training.adversary import take_critics
from revoice.training.build import Parts, build, describe
from revoice.training.callbacks import Run, build_callbacks
from revoice.training.config import check
from revoice.training.loggers import build_loggers, told
from revoice.training.module import VoiceModule
from revoice.training.reporter import Reporter
from revoice.training.resume import Resume, resume_from, resumed
from revoice.training.stop import Stop
from revoice.training.trainer import build_trainer

log = logging.getLogger(__name__)
LONG = 5000  # iterations on a CPU


@dataclass(frozen=True)
class Outcome:
    """What a run returns.

    Attributes:
        folder: run folder.  checkpoint: its best checkpoint (None with `show`, or where none is kept).
        metrics: what `metrics.json` holds.
        stopped: why the run ended before its last iteration, and how to go on; None if it did not.
        by_signal: whether a signal stopped it.
    """

    folder: Path
    checkpoint: Path | None
    metrics: dict[str, Any]
    stopped: str | None = None
    by_signal: bool = False


def train(config: Mapping[str, Any], folder: Path, compared: bool = False) -> Outcome:
    """Train as configured; `configs/train.yaml` documents the keys.

    Args:
        config: plain values, all interpolations resolved.
        folder: run folder; created if missing.
        compared: whether the run is a job of a sweep, see `check`.

    Raises:
        UserError: any setting or input that the user can mend.
    """
    started = time.perf_counter()
    run = check(config, compared)
    seed_everything(run.seed, verbose=False)
    if not run.show:
        _announce(config, run.learner[1])
    parts = build(config, run)
    if run.show:
        print(describe(parts, config))
        return Outcome(folder, None, {})
    iterations = run.max_iterations
    phases = len(run.schedule or (None,))
    resume = resume_from(config.get("ckpt_path"), folder, iterations, parts.model, parts.description, phases)
    if resume is not None and resume.over:
        return _done_before(folder, resume)
    if resume is not None:
        parts = replace(parts, description=parts.description.after([resume.about]))
    parts.description.require_readable()
    own = resume is not None and resume.path.resolve().is_relative_to(folder.resolve())
    loggers = build_loggers(config.get("logger") or {}, folder, resume.done if own and resume else None)
    reporter = Reporter(folder, loggers)
    vocoder = None
    if run.vocoder and not run.trains_vocoder:
        found = Loaded(parts.model, parts.spec, parts.description, path=None, sha256="")
        vocoder = load_vocoder(run.vocoder, parts.spec, model=found)
    if vocoder is not None and "sha256" in vocoder.settings:  # which says its samples, and is looked for beside it
        parts.description.data["vocoder"] = {"name": vocoder.name, "sha256": vocoder.settings["sha256"]}
    module = VoiceModule(
        parts.model, parts.description, run.loss, run.optimizer, iterations, run.seed,
        run.judges, run.schedule, run.optimizers, run.trainer.clip, run.trainer.graph,
    )  # fmt: skip
    val_every = min(parts.trainer.val_every, iterations)
    known = Run(
        parts.spec, parts.data.recordings(), reporter, parts.model, module.plan, iterations, val_every, vocoder
    )  # fmt: skip
    stop = Stop(parts.trainer.max_time)
    callbacks = build_callbacks(config.get("callbacks") or {}, known)
    trainer = build_trainer(parts.trainer, iterations, folder, loggers, [stop, *callbacks])
    if run.init_from and resume is None:
        take_critics(module.critics, run.init_from)
    if parts.trainer.compile:
        for network in (parts.model, *(critic.critic for critic in module.judges)):
            for child in network.children():
                for layer in child if isinstance(child, nn.ModuleList) else [child]:
                    layer.compile()
    with told(loggers):
        if trainer.is_global_zero:
            for line in ["", *describe(parts, config).splitlines()]:
                log.info("%s", line)
            for logger in loggers:
                logger.log_hyperparams(_flat(config))
        _fit(trainer, module, parts, resume, stop)
        outcome = _finish(trainer, module, parts, folder, time.perf_counter() - started, stop.reason)
    if stop.reason:
        return replace(outcome, stopped=f"{stop.reason}; go on with ckpt_path={folder}", by_signal=stop.by_signal)
    return replace(outcome, stopped=outcome.metrics.get("stopped"))


def _fit(trainer: Trainer, module: VoiceModule, parts: Parts, resume: Resume | None, stop: Stop) -> None:
    try:
        with resumed(parts.data, resume, stop):
            path = str(resume.path) if resume else None
            trainer.fit(module, datamodule=parts.data, ckpt_path=path, weights_only=True)
    except torch._dynamo.exc.TorchDynamoException as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"trainer.compile=true: torch.compile fails here ({why[0]}): leave it out") from error


def _done_before(folder: Path, resume: Resume) -> Outcome:
    """What a run left that came to its end when it was started earlier."""
    log.info("already done: %s is at iteration %d; raise max_iterations to go on", resume.path, resume.done)
    kept, told = resume.path.parent / "best.ckpt", folder / "metrics.json"
    metrics = json.loads(told.read_text(encoding="utf-8")) if told.is_file() else {}
    if metrics.get("iterations") != resume.done:  # of an earlier end
        metrics = {"iterations": resume.done}
    return Outcome(folder, kept if kept.is_file() else resume.path, metrics, metrics.get("stopped"))


@rank_zero_only
def _announce(config: Mapping[str, Any], name: str) -> None:
    """What is about to be made, before the first minute of work."""
    iterations = int(config["max_iterations"])
    long = iterations > LONG and not torch.cuda.is_available()
    hint = "; on a CPU that is long, and experiment=first a training of minutes" if long else ""
    log.info("plan      %s iterations of %s on %s%s", f"{iterations:,}", name, config["data"]["name"], hint)


def _finish(
    trainer: Trainer, module: VoiceModule, parts: Parts, folder: Path, seconds: float, interrupted: str | None
) -> Outcome:
    kept = trainer.checkpoint_callback
    candidates = (Path(getattr(kept, "best_model_path", "")), folder / "checkpoints" / "last.ckpt")
    checkpoint = next((path for path in candidates if path.is_file()), None)
    metrics: dict[str, Any] = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
    if kept is not None and getattr(kept, "best_model_score", None) is not None:
        metrics[f"best/{kept.monitor}"] = float(kept.best_model_score)  # type: ignore[attr-defined]
    metrics |= {
        "iterations": trainer.global_step, "seconds": round(seconds, 2),
        "parameters": sum(p.numel() for p in module.model.parameters()),
        "speakers": len(parts.description.speakers), "rejected": parts.data.facts.rejected,
        "version": parts.description.version, "checkpoint": str(checkpoint) if checkpoint else None,
    }  # fmt: skip
    ended = f"schedule: its last phase is over at iteration {trainer.global_step} of {trainer.max_steps}"
    early = getattr(trainer.early_stopping_callback, "reason", None)
    early = early or (ended if module.schedule.over and trainer.global_step < trainer.max_steps else None)
    if stopped := interrupted or early:
        metrics |= {"stopped": stopped, "interrupted": interrupted is not None}
    if trainer.is_global_zero:
        write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return Outcome(folder, checkpoint, metrics)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
