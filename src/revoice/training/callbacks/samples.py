"""Conversions made while training: what a falling loss does not tell."""

import logging
from pathlib import Path
from typing import cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from revoice.audio.io import AudioError
from revoice.audio.spec import FeatureSpec
from revoice.conversion.adaptation import Adaptation
from revoice.conversion.checkpoint import Loaded
from revoice.conversion.converter import Converter
from revoice.data.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.evaluation.pictures import spectrograms
from revoice.models.base import ConversionModel
from revoice.training.callbacks import CALLBACKS, Run
from revoice.training.module import VoiceModule
from revoice.training.reporter import Reporter

log = logging.getLogger(__name__)


@CALLBACKS.register("samples")
class Samples:
    """Converts a few validation clips into other voices every `every` validations: audio and spectrograms.

    Args:
        count: conversions.
        every: validations between two rounds.
    """

    def __init__(self, count: int = 2, every: int = 1) -> None:
        self.count, self.every = count, every

    def make(self, run: Run) -> Callback | list[Callback]:
        """The callback; none if there are no recordings to convert, only their features."""
        if run.recordings is None:
            log.info("no samples are converted: the recordings are not here, only their features")
            return []
        return _Samples(pairs(run.recordings, self.count), run.recordings, run.reporter, self.every)


def pairs(manifest: Manifest, count: int) -> list[tuple[Row, Row]]:
    """(source, reference of another speaker) rows of the validation split, evenly spaced; fewer if speakers are fewer.

    The reference says another sentence than the source wherever the speaker has one.
    """
    rows = list(manifest.select("val")) or list(manifest.select("train"))
    found: list[tuple[Row, Row]] = []
    for index in range(count if rows else 0):
        source = rows[(index * len(rows)) // count]
        others = [row for row in rows if row.speaker != source.speaker]
        others = [row for row in others if row.sentence is None or row.sentence != source.sentence] or others
        if others:
            found.append((source, others[(len(others) // 2 + index * len(others) // count) % len(others)]))
    return found


class _Samples(Callback):
    def __init__(self, chosen: list[tuple[Row, Row]], manifest: Manifest, reporter: Reporter, every: int) -> None:
        self.chosen, self.manifest, self.reporter, self.every = chosen, manifest, reporter, every
        self.rounds = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        self.rounds += 1
        if self.rounds % self.every == 0:
            module = cast(VoiceModule, pl_module)
            training = module.model.training
            if isinstance(module.model, ConversionModel):
                self._speak(module, module.model, trainer.global_step)
            module.model.train(training)

    def _speak(self, module: VoiceModule, model: ConversionModel, iteration: int) -> None:
        description = module.description
        loaded = Loaded(model, FeatureSpec.from_dict(description.features), description, Path(), "")
        with torch.autocast(module.device.type, enabled=False):
            converter = Converter(loaded, device=module.device, adaptation=Adaptation(steps=0))
            for source, target in self.chosen:
                try:
                    clips = {"source": self.manifest.file(source), "target": self.manifest.file(target)}
                    heard = {name: converter.audio(path) for name, path in clips.items()}
                    by_name = model.target == "speaker"
                    converted = converter.convert(heard["source"], target.speaker if by_name else [heard["target"]])
                except (AudioError, UserError):  # a file that vanished since preparation; a voice not in the table
                    continue
                name = f"{source.id}_to_{target.speaker}"
                self.reporter.audio(name, converted, iteration)
                shown = {"source": heard["source"], "converted": converted, "reference of the target": heard["target"]}
                self.reporter.image(name, spectrograms(shown), iteration)
