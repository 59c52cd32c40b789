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
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from revoice.atomic import write_text
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import Description, spec_facts
from revoice.checkpoint.load import Loaded, load_checkpoint
from revoice.checkpoint.vocoder import load_vocoder
from revoice.data.config import build as build_data
from revoice.data.datamodule import DataModule
from revoice.data.setup import DataSetup
from revoice.errors import UserError
from revoice.trainable import Trainable
from revoice.training.callbacks import Run, build_callbacks
from revoice.training.config import TrainConfig, check
from revoice.training.content import adopt, carry_over, fitted, made_fields, settle
from revoice.training.loggers import build_loggers
from revoice.training.module import VoiceModule
from revoice.training.reporter import Reporter
from revoice.training.resume import resume_from, resumed
from revoice.training.stop import Stop
from revoice.training.trainer import Place, TrainerSettings, build_trainer, place, precision

log = logging.getLogger(__name__)
MOMENTS = {"muon": 1}  # numbers that an optimizer keeps for each weight; others keep two
LONG = 5000  # iterations on a CPU


@dataclass(frozen=True)
class Outcome:
    """What a run returns.

    Attributes:
        folder: run folder.  checkpoint: its best checkpoint (None with `show`).
        metrics: what `metrics.json` holds.
        stopped: why the run ended before its last iteration, and how to go on; None if it did not.
        by_signal: whether a signal stopped it.
    """

    folder: Path
    checkpoint: Path | None
    metrics: dict[str, Any]
    stopped: str | None = None
    by_signal: bool = False


@dataclass(frozen=True)
class Parts:
    """Everything built for a run, before training starts."""

    data: DataModule
    spec: FeatureSpec
    model: Trainable
    description: Description
    trainer: TrainerSettings


def train(config: Mapping[str, Any], folder: Path) -> Outcome:
    """Train as configured; `configs/train.yaml` documents the keys.

    Args:
        config: plain values, all interpolations resolved.
        folder: run folder; created if missing.

    Raises:
        UserError: any setting or input that the user can mend.
    """
    started = time.perf_counter()
    run = check(config)
    seed_everything(run.seed, verbose=False)
    if not run.show:
        _announce(config, run.learner[1])
    parts = build(config, run)
    if run.show:
        print(describe(parts, config))
        return Outcome(folder, None, {})
    iterations = run.max_iterations
    resume = resume_from(config.get("ckpt_path"), folder, iterations, parts.model, parts.description)
    own = resume is not None and resume.path.resolve().is_relative_to(folder.resolve())
    loggers = build_loggers(config.get("logger") or {}, folder, resume.done if own and resume else None)
    reporter = Reporter(folder, loggers)
    vocoder = load_vocoder(run.vocoder, parts.spec) if run.vocoder and not run.trains_vocoder else None
    val_every = min(parts.trainer.val_every, iterations)
    known = Run(parts.spec, parts.data.recordings(), reporter, iterations, val_every, vocoder)
    stop = Stop(parts.trainer.max_time)
    callbacks = build_callbacks(config.get("callbacks") or {}, known)
    trainer = build_trainer(parts.trainer, iterations, folder, loggers, [stop, *callbacks])
    module = VoiceModule(
        parts.model, parts.description, run.loss, run.optimizer, iterations, run.seed,
        run.judges, run.schedule, run.optimizers, run.trainer.clip, run.trainer.graph,
    )  # fmt: skip
    if parts.trainer.compile:
        for child in parts.model.children():
            child.compile()
    if trainer.is_global_zero:
        for line in ["", *describe(parts, config).splitlines(), *_judges(module)]:
            log.info("%s", line)
        for logger in loggers:
            logger.log_hyperparams(_flat(config))
    try:
        with resumed(parts.data, resume, stop):
            path = str(resume.path) if resume else None
            trainer.fit(module, datamodule=parts.data, ckpt_path=path, weights_only=True)
        outcome = _finish(trainer, module, parts, folder, time.perf_counter() - started, stop.reason)
        hint = f"{stop.reason}; go on with ckpt_path={folder}" if stop.reason else None
        return replace(outcome, stopped=hint, by_signal=stop.by_signal)
    except torch._dynamo.exc.TorchDynamoException as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"trainer.compile=true: torch.compile fails here ({why[0]}): leave it out") from error
    finally:
        for logger in loggers:
            logger.finalize("success")
        _finish_wandb(loggers)


@rank_zero_only
def _announce(config: Mapping[str, Any], name: str) -> None:
    """What is about to be made, before the first minute of work."""
    iterations = int(config["max_iterations"])
    long = iterations > LONG and not torch.cuda.is_available()
    hint = "; on a CPU that is long, and experiment=first a training of minutes" if long else ""
    log.info("plan      %s iterations of %s on %s%s", f"{iterations:,}", name, config["data"]["name"], hint)


def build(config: Mapping[str, Any], run: TrainConfig) -> Parts:
    """Prepare the data if needed and build the model."""
    start = load_checkpoint(run.init_from) if run.init_from else None
    spec = start.spec if start else run.features
    setup = build_data(on_device(config["data"], place(run.trainer)))
    registry, name, values = run.learner
    facts = {**spec_facts(spec), "n_speakers": len(setup.training_speakers()), "spec": spec}
    under = start if start and start.description.model == registry.get(name).grows_from else None
    start = None if under else start
    if start:
        model, arguments = _continue(start, run)
        teacher = values.get("content_from")
        encoder: Loaded | None = load_checkpoint(teacher) if teacher else start
    else:
        values, encoder = settle(name, values)
        arguments = registry.arguments(name, values, facts)
        model = registry.build(name, arguments)
        adopt(model, encoder)
    requires = model.requires
    if any(phase.batches == "stored" for phase in run.schedule or ()):
        requires = replace(requires, fields=tuple(dict.fromkeys((*requires.fields, "generated"))))
    data = setup.open(
        spec, requires, run.paths.prepared_dir, run.seed, run.trainer.accumulate,
        made=made_fields(model, encoder, spec),
    )  # fmt: skip
    if arguments.get("n_speakers", len(data.tables.speakers)) != len(data.tables.speakers):
        # of a checkpoint with any voice, or counted before every clip of a speaker was rejected
        arguments = {**arguments, "n_speakers": len(data.tables.speakers)}
        if not start:
            seed_everything(run.seed, verbose=False)
            model = registry.build(name, arguments)
            adopt(model, encoder)
    if start and model.target == "speaker" and list(data.tables.speakers) != start.description.speakers:
        raise UserError(
            f"init_from={start.path} speaks with the {len(start.description.speakers)} voices of its table, the data "
            "has others: start from a model with model.voice=embedding"
        )
    if not start:
        statistics = data.statistics()
        model.set_statistics(torch.as_tensor(statistics.mean).float(), torch.as_tensor(statistics.std).float())
    if under:
        model.grow_from(under.model)
    model.set_features(spec)
    made_by = encoder if "content" in model.requires.fields else None
    plain = {key: value for key, value in arguments.items() if key != "spec"}
    description = _description(model, registry.kind, plain, spec, setup, data, made_by)
    return Parts(data, spec, model, description, run.trainer)


def on_device(data: Mapping[str, Any], where: Place) -> dict[str, Any]:
    """Settings of the data, which a GPU holds itself where nothing else is said and it fits.

    >>> on_device({"name": "vctk"}, Place("cuda", 1)), on_device({"device": "cpu"}, Place("cuda", 1))
    ({'name': 'vctk', 'device': 'cuda'}, {'device': 'cpu'})
    """
    chosen = data.get("device") or ("cuda" if where.accelerator == "cuda" and not data.get("stream") else None)
    return {**data, **({"device": chosen} if chosen else {})}


def _description(
    model: Trainable,
    kind: str,
    arguments: dict[str, Any],
    spec: FeatureSpec,
    setup: DataSetup,
    data: DataModule,
    encoder: Loaded | None,
) -> Description:
    """What checkpoints will say of the model; `encoder` is the file that made its stored content, if any."""
    return Description(
        model=model.name,
        kind=kind,  # type: ignore[arg-type]
        arguments=arguments,
        features=spec.to_dict(),
        trim_db=setup.preparation.trim_db,
        fields={kind: dict(how) for kind, how in setup.preparation.fields.items()},
        speakers=list(data.tables.speakers),
        levels=data.pitch_levels() if model.target == "speaker" else [],
        data={
            "corpus": data.facts.corpus,
            "manifest": data.facts.manifest,
            "utterances": data.facts.utterances,
            **({"content_from": encoder.description.data or encoder.sha256} if encoder else {}),
        },
    )


def describe(parts: Parts, config: Mapping[str, Any]) -> str:
    """Sizes and shapes of a run, for people."""
    model, spec, facts = parts.model, parts.spec, parts.data.facts
    where = place(parts.trainer)
    sizes = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    total = sum(p.numel() for p in model.parameters())
    batch = parts.data.sample() if where.devices == 1 else None
    lines = [
        f"{parts.description.kind:<9} {parts.description.model}: {total:,} parameters ("
        + ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size)
        + ")",
        f"features  {spec.channels} channels, {spec.frame_rate:.1f} frames/s at {spec.sample_rate} Hz, "
        f"fingerprint {spec.fingerprint}",
        f"data      {facts.corpus}: {facts.train:,} training utterances of "
        f"{len(parts.description.speakers)} speakers, {facts.hours:.2f} h; {facts.validation:,} for validation; "
        f"{facts.rejected} rejected",
        f"trainer   {where.devices} x {where.accelerator}, precision {precision(parts.trainer, where)}, "
        f"{config['max_iterations']} iterations of {parts.data.batch_size} crops",
    ]
    if config.get("callbacks", {}).get("checkpoint") is not None:
        megabytes = 4e-6 * total * (1 + MOMENTS.get(config["optimizer"]["name"], 2))
        lines.append(f"leaves    best.ckpt and last.ckpt of about {megabytes:,.0f} MB each, samples and logs")
    if batch is not None:
        shapes = {f: tuple(v.shape) for f, v in vars(batch).items() if isinstance(v, torch.Tensor)}
        lines.append("batch     " + ", ".join(f"{name} {shape}" for name, shape in shapes.items()))
    return "\n".join(lines)


def _judges(module: VoiceModule) -> list[str]:
    """A line on the critics, if there are any."""
    sizes = {name: sum(p.numel() for p in critic.parameters()) for name, critic in module.critics.items()}
    return ["critics   " + ", ".join(f"{name} {size:,}" for name, size in sizes.items())] if sizes else []


def _continue(start: Loaded, run: TrainConfig) -> tuple[Trainable, dict[str, Any]]:
    """The network of a checkpoint; what is about training alone may be set anew."""
    registry, name, values = run.learner
    if (start.description.kind, start.description.model) != (registry.kind, name):
        raise UserError(
            f"init_from={start.path} holds a {start.description.model}, not a {name}: "
            f"add {start.description.kind}={start.description.model}"
        )
    log.info("%s settings, features and statistics are those of %s", registry.kind, start.path)
    arguments = dict(start.description.arguments)
    again = {key: values[key] for key in type(start.model).may_change if key in values}
    again |= {key: fitted(arguments[key], value) for key, value in again.items() if isinstance(value, Mapping)}
    if any(arguments.get(key) != value for key, value in again.items()):
        arguments |= again
        model = registry.build(name, arguments, {"spec": start.spec})
        carry_over(model, start.model)
        return model, arguments
    return start.model.train(), arguments


def _finish(
    trainer: Trainer, module: VoiceModule, parts: Parts, folder: Path, seconds: float, stopped: str | None
) -> Outcome:
    kept = trainer.checkpoint_callback
    best_path = getattr(kept, "best_model_path", "")
    best = Path(best_path) if best_path else None
    last = folder / "checkpoints" / "last.ckpt"
    metrics: dict[str, Any] = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
    if kept is not None and getattr(kept, "best_model_score", None) is not None:
        metrics[f"best/{kept.monitor}"] = float(kept.best_model_score)  # type: ignore[attr-defined]
    metrics |= {
        "iterations": trainer.global_step, "seconds": round(seconds, 2),
        "parameters": sum(p.numel() for p in module.model.parameters()),
        "speakers": len(parts.description.speakers), "rejected": parts.data.facts.rejected,
        "version": parts.description.version, "checkpoint": str(best or last),
    }  # fmt: skip
    if stopped:
        metrics["stopped"] = stopped
    if trainer.is_global_zero:
        write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return Outcome(folder, best if best and best.is_file() else last, metrics)


def _finish_wandb(loggers: list[Any]) -> None:
    """A sweep's next job must start a run of its own."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish()


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
