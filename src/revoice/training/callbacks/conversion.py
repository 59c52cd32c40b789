"""The metrics of an evaluation while training, on a small protocol of validation clips: to choose checkpoints by."""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from pytorch_lightning import Callback, LightningModule, Trainer

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import Loaded
from revoice.conversion.adaptation import Adaptation
from revoice.conversion.converter import Converter
from revoice.data.corpora.manifest import Manifest
from revoice.errors import UserError
from revoice.evaluation.conversions import convert_batch
from revoice.evaluation.evaluate import run
from revoice.evaluation.listeners import DEFAULT, check_recognizer
from revoice.evaluation.metrics.base import Metric
from revoice.evaluation.metrics.words import Words
from revoice.evaluation.pairs import Trial, pick_trials, said
from revoice.evaluation.protocol import Protocol
from revoice.evaluation.session import judges
from revoice.evaluation.workers import Workers
from revoice.models.base import ConversionModel
from revoice.settings import Count, Given, Seed, Word
from revoice.trainable import Trainable
from revoice.training.callbacks import CALLBACKS, Run
from revoice.training.module import VoiceModule
from revoice.vocoders.base import Vocoder

log = logging.getLogger(__name__)
GROUP = "validation"
METRICS = ("speaker", "words", "spectral", "sound")
KEYS = (
    "closer_to_target", "cosine_target", "cosine_source", "mcd_converted", "f0_correlation", "voicing_error", "silence",
)  # fmt: skip
SCORE, ERRORS, COPY = "conversion/score", "conversion/error_rate", "conversion/error_rate_copy"
LOGGED = (SCORE, ERRORS, COPY, *(f"conversion/{key}" for key in KEYS))


@CALLBACKS.register("conversion")
class Conversion:
    """Converts validation clips between some training voices every `every` validations, and measures that.

    Logged as `conversion/NAME`: the numbers of an evaluation, `error_rate` (what a recognizer hears against what it
    hears in the sources), `error_rate_copy` (of features and vocoder alone), and `score`, 0 to 1, for choosing
    checkpoints (`callbacks.checkpoint.monitor=conversion/score`, mode max): the share of the way to the target voice
    that the cosine went, times the share of the words that stayed. Neither half is worth anything without the other.

    Args:
        voices: all ordered pairs of so many.
        sentences_per_pair: clips of each pair.
        references: clips of the target voice.
        every: validations between two rounds.
        recognizer: name, or `{name: ..., setting: ...}`; None counts no errors, and there is no score.
        seed: of the choice.
    """

    def __init__(
        self,
        voices: Annotated[Count, Field(ge=2)] = 4,
        sentences_per_pair: Count = 1,
        references: Count = 1,
        every: Count = 1,
        recognizer: Given | Word | None = DEFAULT,
        seed: Seed = 0,
    ) -> None:
        self.voices, self.sentences, self.references = voices, sentences_per_pair, references
        self.every, self.recognizer, self.seed = every, recognizer, seed
        check_recognizer(recognizer, "callbacks.conversion.recognizer")

    def logs(self, kind: type[Trainable], model: Trainable | None) -> tuple[str, ...]:
        """Of models that convert."""
        return LOGGED if issubclass(kind, ConversionModel) else ()

    def make(self, run: Run) -> Callback | list[Callback]:
        """The callback; none if there are no recordings to convert, only their features."""
        if run.recordings is None:
            log.info("no conversions are measured: the recordings are not here, only their features")
            return []
        trials = validation_trials(run.recordings, self.voices, self.sentences, self.references, self.seed)
        return _Conversion(trials, run.recordings, self.every, self.recognizer, run.vocoder)


def validation_trials(manifest: Manifest, voices: int, sentences: int, references: int, seed: int) -> list[Trial]:
    """Conversions of validation clips between training voices, which lend other clips to tell them by.

    Raises:
        UserError: there are no two voices with validation clips and enough others.
    """
    held = {said(row) for row in manifest if row.split == "val"}
    rows = [replace(row, split="test_seen") for row in manifest if row.split == "val"]
    rows += [row for row in manifest if row.split == "train" and said(row) not in held]
    try:
        return pick_trials(
            manifest.with_rows(rows), "seen", speakers=voices, sentences_per_pair=sentences, references=references,
            seed=seed,
        )  # fmt: skip
    except UserError as error:
        raise UserError(
            f"callbacks.conversion: no two training voices have a validation clip and {references + 1} or more others: "
            "choose a larger part of the corpus, or leave metrics=conversion out"
        ) from error


class _Conversion(Callback):
    def __init__(
        self,
        trials: list[Trial],
        manifest: Manifest,
        every: int,
        recognizer: dict[str, Any] | str | None,
        vocoder: Vocoder | None,
    ) -> None:
        self.trials, self.manifest, self.every = trials, manifest, every
        self.recognizer, self.vocoder, self.rounds = recognizer, vocoder, 0
        self.metrics: list[Metric] = []
        self.numbers: dict[str, float] = {}  # of the last round

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to choose checkpoints by a number that will not be there."""
        monitors = {getattr(other, "monitor", None) for other in trainer.callbacks}  # type: ignore[attr-defined]
        monitors &= set(LOGGED)
        if monitors:
            if self.every != 1:
                raise UserError("a checkpoint chosen by conversion/...: type callbacks.conversion.every=1")
            if self.recognizer is None and monitors & {SCORE, ERRORS, COPY}:
                raise UserError(
                    f"monitor={SCORE}: no recognizer counts errors: type callbacks.conversion.recognizer=phones"
                )
        module, problem = cast(VoiceModule, pl_module), ""
        if trainer.is_global_zero and isinstance(module.model, ConversionModel):
            try:
                self._listen(module, module.model, counts=bool(monitors & {SCORE, ERRORS, COPY}))
            except UserError as error:
                problem = str(error)
        if problem := trainer.strategy.broadcast(problem):  # no process waits for one that has ended
            raise UserError(problem)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.rounds += 1
        module = cast(VoiceModule, pl_module)
        if self.rounds % self.every == 0 and isinstance(module.model, ConversionModel):
            if trainer.is_global_zero:
                training = module.model.training
                with torch.autocast(module.device.type, enabled=False):
                    self.numbers = self._measure(module, module.model.eval())
                module.model.train(training)
            self.numbers = trainer.strategy.broadcast(self.numbers)  # every process chooses the same checkpoint
        for name, value in self.numbers.items():
            module.log(name, value, sync_dist=True)

    def _converter(self, module: VoiceModule, model: ConversionModel) -> Converter:
        description = module.description
        loaded = Loaded(model, FeatureSpec.from_dict(description.features), description, Path(), "")
        return Converter(loaded, self.vocoder, module.device, Adaptation(steps=0))

    def _listen(self, module: VoiceModule, model: ConversionModel, counts: bool) -> None:
        """Build who judges, once: they remember the recordings.

        Args:
            module: that learns.  model: in it.
            counts: a checkpoint is chosen by the errors.
        """
        training = model.training
        who = Protocol(recognizer=self.recognizer, second_recognizer=None, second_verifier=None, workers=0)
        with torch.random.fork_rng(devices=[]):  # what the training draws stays the same
            converter = self._converter(module, model)
            self.metrics, why = judges({"model": converter}, self.manifest, who, Workers(0), names=METRICS)
        model.train(training)
        if counts and not any(isinstance(metric, Words) for metric in self.metrics):
            raise UserError(f"monitor={SCORE}: nothing counts errors: {why}")

    def _measure(self, module: VoiceModule, model: ConversionModel) -> dict[str, float]:
        converter = self._converter(module, model)
        summary = run(
            {GROUP: self.trials}, convert_batch(converter), converter.copy_synthesis, self.manifest, self.metrics
        ).summaries[GROUP]
        found = numbers(summary)
        log.info("conversions: %s", ", ".join(f"{key.split('/')[1]} {value:.3f}" for key, value in found.items()))
        return found


def numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    """What is logged of a summary, without what is not known; the worst score where every conversion failed."""
    errors = next((key for key in ("per_converted", "cer_converted") if key in summary), "")
    wrong = float(summary.get(errors, math.nan))
    copied = float(summary.get(errors.replace("converted", "copy"), math.nan))
    found = {SCORE: score(summary, wrong, copied), ERRORS: wrong, COPY: copied}
    if errors and summary["failed"] == summary["trials"]:  # a checkpoint may be chosen by them
        found |= {SCORE: 0.0, ERRORS: 1.0}
    found |= {f"conversion/{key}": float(summary.get(key, math.nan)) for key in KEYS}
    return {key: value for key, value in found.items() if math.isfinite(value)}


def score(summary: Mapping[str, Any], wrong: float, copied: float) -> float:
    """Share of the way from the unconverted source to the target's own recordings, by cosine, times words kept.

    Words kept: 1 where as many are wrong as in a copy through features and vocoder, 0 where all are.

    >>> own = {"cosine_target": 0.8, "cosine_unconverted": 0.6, "cosine_own": 1.0}
    >>> round(score(own, wrong=0.4, copied=0.2), 3)
    0.375
    """
    start, end = float(summary["cosine_unconverted"]), float(summary["cosine_own"])
    gone = (float(summary["cosine_target"]) - start) / max(end - start, 1e-3)
    lost = (wrong - copied) / max(1 - copied, 1e-3)
    if not math.isfinite(gone + lost):
        return math.nan
    return min(max(gone, 0.0), 1.0) * (1 - min(max(lost, 0.0), 1.0))
