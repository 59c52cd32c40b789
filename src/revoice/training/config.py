"""The configuration of a training run, checked from end to end before any work is done."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from torch import nn

import revoice.conversion.generated
import revoice.conversion.posteriors  # noqa: F401  a field
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import spec_facts
from revoice.checkpoint.fit import sketch
from revoice.checkpoint.load import find_checkpoint
from revoice.checkpoint.vocoder import FOUND, check_vocoder
from revoice.conversion.adaptation import Adaptation, Steps
from revoice.data.config import Paths
from revoice.data.config import build as build_data
from revoice.errors import UserError, choices, one_line
from revoice.evaluation.session import Protocol
from revoice.models.base import MODELS
from revoice.registry import Registry
from revoice.settings import Count, Flag, Given, Place, Seed, Word, from_config, settings
from revoice.trainable import MODEL, Trainable
from revoice.training.adversary import Judging, batchwise, check_critic
from revoice.training.callbacks import CALLBACKS, check_monitors, measured_by
from revoice.training.codes import require_codes
from revoice.training.content import require_encoder
from revoice.training.loggers import LOGGERS
from revoice.training.objective import Weights
from revoice.training.optimizers import build_optimizer
from revoice.training.parts import merged
from revoice.training.plan import check_plan, check_slopes, unreached
from revoice.training.schedule import Phases
from revoice.training.trainer import TrainerSettings, place, precision
from revoice.vocoders.base import VOCODERS

log = logging.getLogger(__name__)
LARGEST_MODEL = 20_000_000_000  # parameters; one machine holds no larger one
_MOST_TENSORS = 100_000
SKETCHED = ("neutral", "other")  # emotions of a network that is only drawn
COUNTED = ("iterations", "seconds", "parameters", "speakers", "rejected")  # numbers that every run ends with
COMPARED = "best/val/loss"  # by which jobs of a sweep are compared unless something else is said


@settings
class TrainConfig:
    """What `configs/train.yaml` documents, a group each; what a group holds is its own class's to say."""

    model: Given | None = None
    loss: Weights | None = None
    critics: dict[Word, Given | None] | None = None
    schedule: Phases | None = None
    optimizer: Given
    optimizers: dict[Word, Given] | None = None
    features: FeatureSpec
    data: Given
    trainer: TrainerSettings
    paths: Paths
    logger: dict[Word, Given | None] | None = None
    callbacks: dict[Word, Given | None] | None = None
    task: Word = "train"
    seed: Seed = 0
    max_iterations: Count
    init_from: Place | None = None
    ckpt_path: Place | None = None
    show: Flag = False
    optimized_metric: Word = COMPARED
    optimized_direction: Literal["minimize", "maximize"] = "minimize"
    sweep_keeps: Literal["weights", "all"] = "weights"
    vocoder: Given | None = None
    metrics: Protocol | None = None
    adapt: Annotated[Adaptation, Steps] | None = None

    @property
    def trains_vocoder(self) -> bool:
        """Whether the vocoder learns, not a model."""
        given = self.vocoder or {}
        named = given.get("name", FOUND) != FOUND and given.get("ckpt") is None
        return named and VOCODERS.get(str(given["name"])).trained

    @property
    def learner(self) -> tuple["Registry[Any]", str, dict[str, Any]]:
        """What is trained: its registry, its name there and its settings."""
        if self.trains_vocoder:
            given = {key: value for key, value in (self.vocoder or {}).items() if key != "ckpt"}
            if given.get("generated") and self.data.get("generated_by") is None:
                raise UserError("vocoder.generated=true: add data.generated_by=CHECKPOINT, whose samples it is to hear")
            given["generated"] = self.data.get("generated_by") is not None
            return VOCODERS, *VOCODERS.named(given, "vocoder")
        return MODELS, *MODELS.named(self.model, "model")

    @property
    def judges(self) -> dict[str, dict[str, Any]]:
        """The critics that are not switched off by null."""
        return {name: how for name, how in (self.critics or {}).items() if how is not None}


def check(config: Mapping[str, Any], compared: bool = False) -> TrainConfig:
    """Refuse what cannot be trained, in one line, before a corpus is touched or a model loaded.

    Args:
        config: plain values, all interpolations resolved.
        compared: whether runs are compared by `optimized_metric`, which must be a number that they end with.
    """
    run = from_config(TrainConfig, config)
    registry, name, values = run.learner
    if run.trains_vocoder and run.model is not None:
        raise UserError(
            f"a model and a vocoder that has no weights yet: train the vocoder alone (vocoder={name} model=null), then "
            f"give its weights (vocoder.ckpt=RUN_FOLDER)"
        )
    if not registry.get(name).trained:
        raise UserError(f"model {name} needs no training: python convert.py model={name} src=a.wav tgt=b.wav")
    where = place(run.trainer)  # complain about missing GPUs before preparing for an hour
    precision(run.trainer, where)
    if run.loss is None and run.schedule is None:
        raise UserError("loss is missing: expected weights of the model's losses, e.g. loss.reconstruction=1")
    if run.loss is not None and not any(weight.value for weight in run.loss.values()):
        raise UserError(
            "every loss weight is 0: nothing to train on; set one of " + ", ".join(f"loss.{n}" for n in run.loss)
        )
    registry.check(name, values, facts=("spec", "n_speakers", "emotions", *spec_facts(run.features)))
    build_optimizer(run.optimizer, nn.Linear(1, 1))
    for how in (run.optimizers or {}).values():
        build_optimizer(merged(run.optimizer, how), nn.Linear(1, 1))
    critics = _check_critics(run, where.devices * run.trainer.num_nodes * run.trainer.accumulate)
    for logger, options in (run.logger or {}).items():
        LOGGERS.check(logger, options or {})
    if run.vocoder is not None and not run.trains_vocoder:
        check_vocoder(run.vocoder)
    _check_checkpoints(run)
    build_data(run.data)
    drawn: Trainable | None = None
    if run.init_from is None:  # else they are the checkpoint's
        require_encoder(name, values)
        require_codes(name, values)
        drawn = _check_sizes(registry, name, values, run.features)
    if never := unreached(run.schedule or (), run.max_iterations):
        log.warning("%s", never)
    kind = registry.get(name)
    if run.init_from is None or kind.parts is Trainable.parts:
        parts = list(drawn.parts()) if drawn else [MODEL]
        logged = check_plan(parts, critics, run.loss, run.schedule, run.optimizers or {}, kind.measured)
        made = {name: CALLBACKS.build(name, how) for name, how in (run.callbacks or {}).items() if how is not None}
        check_monitors(made, logged, kind, drawn)
        if compared and run.optimized_metric != COMPARED:
            kept = [f"best/{monitor}"] if (monitor := getattr(made.get("checkpoint"), "monitor", None)) else []
            known = [*kept, *measured_by(made, logged, kind, drawn), *COUNTED]
            if run.optimized_metric not in known:
                raise choices(run.optimized_metric, known, "optimized_metric")
    return run


def _check_critics(run: TrainConfig, pieces: int) -> dict[str, Judging]:
    """How each judges; a batch comes in so many pieces."""
    critics = {label: check_critic(how, f"critics.{label}") for label, how in run.judges.items()}
    check_slopes(run.schedule or (), [name for name, how in run.judges.items() if batchwise(how, f"critics.{name}")])
    if pieces > 1 and (label := next((name for name, how in critics.items() if how.joint), None)):
        raise UserError(
            f"critics.{label}.joint=true looks at a batch as a whole, which {pieces} pieces are not: take "
            "trainer.devices=1 trainer.accumulate=1"
        )
    return critics


def _check_checkpoints(run: TrainConfig) -> None:
    if run.init_from is not None:
        find_checkpoint(run.init_from)
    if run.ckpt_path is not None and str(run.ckpt_path) not in ("auto", "last"):
        if not (run.ckpt_path / "checkpoints" / "last.ckpt").is_file():
            find_checkpoint(run.ckpt_path)


def _check_sizes(registry: "Registry[Any]", name: str, values: Mapping[str, Any], spec: FeatureSpec) -> Trainable:
    """The network, drawn without memory: what has no sizes that go together, or of a machine, is found."""
    facts = {**spec_facts(spec), "n_speakers": 1, "emotions": list(SKETCHED), "spec": spec}
    try:
        model = sketch(lambda: registry.build(name, values, facts), _MOST_TENSORS)
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:  # torch's, of sizes beyond all measure
        raise UserError(
            f"{registry.kind}={name}: no network can be made of these sizes ({one_line(error, 100)})"
        ) from error
    count = sum(parameter.numel() for parameter in model.parameters())
    if count > LARGEST_MODEL:
        raise UserError(
            f"{registry.kind}={name}: these sizes make {count:,} parameters, expected {LARGEST_MODEL:,} at most"
        )
    model.set_features(spec)
    return model
