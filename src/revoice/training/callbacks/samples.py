"""Conversions made while training: what a falling loss does not tell."""

import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from revoice.audio.features import extract
from revoice.audio.io import Audio, AudioError, read_audio
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import Loaded
from revoice.conversion.adaptation import Adaptation
from revoice.conversion.converter import Converter
from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.evaluation.listeners import DEFAULT, build_recognizer, check_recognizer
from revoice.evaluation.pictures import spectrograms
from revoice.evaluation.recognition import RECOGNIZERS, Recognizer, Transcript, is_circular, mean_rate
from revoice.models.base import ConversionModel
from revoice.settings import Count, Given, Natural, Word
from revoice.trainable import Trainable
from revoice.training.callbacks import CALLBACKS, Run
from revoice.training.module import VoiceModule
from revoice.training.reporter import Reporter
from revoice.vocoders.base import Vocoder
from revoice.vocoders.neural import NeuralVocoder

log = logging.getLogger(__name__)
ERRORS = "samples/error_rate"
_HEARD = (ConversionModel, NeuralVocoder)


@CALLBACKS.register("samples")
class Samples:
    """Converts a few validation clips into other voices every `every` validations: audio, spectrograms, error rate.

    A vocoder in training says the clips again.

    The error rate of a round is logged as `samples/error_rate`: what a recognizer hears in the conversions against what
    it hears in their sources. Checkpoints may be chosen by it (`callbacks.checkpoint.monitor=samples/error_rate`).
    `samples/error_rate_copy` is the same for the sources through features and vocoder alone: no model gets below it.
    `samples/error_rate_source` is what it hears wrong in the sources themselves, where the corpus says what is said.

    Args:
        count: conversions.
        every: validations between two rounds.
        recognizer: name, or `{name: ..., setting: ...}`; None counts no errors, and so does the default where its
            weights are not.
    """

    def __init__(self, count: Natural = 2, every: Count = 1, recognizer: Given | Word | None = DEFAULT) -> None:
        self.count, self.every, self.recognizer = count, every, recognizer
        check_recognizer(recognizer, "callbacks.samples.recognizer")

    def logs(self, kind: type[Trainable], model: Trainable | None) -> tuple[str, ...]:
        """Error rates, of models that make something to hear."""
        return (ERRORS, f"{ERRORS}_copy") if issubclass(kind, _HEARD) else ()

    def make(self, run: Run) -> Callback | list[Callback]:
        """The callback; none if there are no recordings to convert, only their features."""
        if run.recordings is None:
            log.info("no samples are converted: the recordings are not here, only their features")
            return []
        chosen = pairs(run.recordings, self.count)
        return _Samples(chosen, run.recordings, run.reporter, self.every, self._recognizer(), run.vocoder)

    def _recognizer(self) -> Recognizer | None:
        if self.recognizer in (DEFAULT, {"name": DEFAULT}) and RECOGNIZERS.get(DEFAULT).missing():
            return None
        return build_recognizer(self.recognizer, what="callbacks.samples.recognizer")


def pairs(manifest: Manifest, count: int) -> list[tuple[Row, Row]]:
    """(source, reference of another speaker, if there are several) rows of the validation split, evenly spaced.

    The reference says another sentence than the source wherever the speaker has one.
    """
    rows = list(manifest.select("val")) or list(manifest.select("train"))
    found: list[tuple[Row, Row]] = []
    for index in range(count if rows else 0):
        source = rows[(index * len(rows)) // count]
        others = [row for row in rows if row.speaker != source.speaker]
        others = others or [row for row in rows if row is not source]  # of the only speaker
        others = [row for row in others if row.sentence is None or row.sentence != source.sentence] or others
        if others:
            found.append((source, others[(len(others) // 2 + index * len(others) // count) % len(others)]))
    return found


@dataclass
class _Spoken:
    """A conversion of a round, and the files it lies in."""

    source: Row
    target: Row
    converted: Audio
    files: dict[str, Path]


@dataclass
class _Round:
    """What came of one round.

    Attributes:
        sources: by utterance id.  copies: of the same, through features and vocoder.
        spoken: the conversions.
    """

    sources: dict[str, Audio] = field(default_factory=dict)
    copies: dict[str, Audio] = field(default_factory=dict)
    spoken: list[_Spoken] = field(default_factory=list)


class _Samples(Callback):
    def __init__(
        self,
        chosen: list[tuple[Row, Row]],
        manifest: Manifest,
        reporter: Reporter,
        every: int,
        recognizer: Recognizer | None = None,
        vocoder: Vocoder | None = None,
    ) -> None:
        self.chosen, self.manifest, self.reporter, self.every = chosen, manifest, reporter, every
        self.recognizer, self.vocoder, self.rounds = recognizer, vocoder, 0
        self.heard: dict[str, Transcript] = {}  # in the sources, by utterance id
        self.copies: dict[str, Transcript] = {}  # in their copies
        self.rates: dict[str, float] = {}  # of the last round
        self.inputs: dict[str, dict[str, Path]] = {}  # files of source and reference, by the name of the conversion

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to choose checkpoints by a number that will not be there; say who flatters the samples."""
        model = cast(VoiceModule, pl_module).model
        if self.recognizer is not None and is_circular(self.recognizer, getattr(model, "stands_on", ())):
            log.info("%s hears the samples; it shares its teacher or weights with the model and flatters it",
                     self.recognizer.name)  # fmt: skip
        if any(getattr(other, "monitor", None) == ERRORS for other in trainer.callbacks):  # type: ignore[attr-defined]
            if self.recognizer is None:
                raise UserError(
                    f"monitor={ERRORS}: no recognizer counts errors: type e.g. callbacks.samples.recognizer=whisper"
                )
            if self.every != 1 or not self.chosen:
                raise UserError(
                    f"monitor={ERRORS}: expected samples at every validation: type callbacks.samples.every=1 and "
                    "callbacks.samples.count=2 or more"
                )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.rounds += 1
        module = cast(VoiceModule, pl_module)
        model = module.model
        if self.rounds % self.every == 0 and isinstance(model, _HEARD):
            if trainer.is_global_zero:
                training = model.training
                with torch.autocast(module.device.type, enabled=False):
                    if isinstance(model, NeuralVocoder):
                        done = self._say_again(model.eval(), module.device, trainer.global_step)
                    else:
                        done = self._speak(module, model, trainer.global_step)
                model.train(training)
                heard = self._listen(done, trainer.global_step)
                self._tell(done, heard, trainer.global_step)
            self.rates = trainer.strategy.broadcast(self.rates)  # every process chooses the same checkpoint
        for name, rate in self.rates.items():
            module.log(name, rate, sync_dist=True)

    def _speak(self, module: VoiceModule, model: ConversionModel, iteration: int) -> _Round:
        description, done = module.description, _Round()
        loaded = Loaded(model, FeatureSpec.from_dict(description.features), description, Path(), "")
        converter = Converter(loaded, self.vocoder, module.device, Adaptation(steps=0))
        for source, target in self.chosen:
            try:
                clips = {"source": self.manifest.file(source), "target": self.manifest.file(target)}
                heard = {name: converter.audio(path) for name, path in clips.items()}
                voices: dict[str, Any] = {"speaker": target.speaker, "clips": [heard["target"]], "none": []}
                converted = converter.convert(heard["source"], voices[model.target])
            except (AudioError, UserError):  # a file that vanished since preparation; a voice not in the table
                continue
            name = f"{source.id}_to_{target.speaker}"
            files = self._inputs(name, heard, iteration)
            files["converted"] = self.reporter.audio(name, converted, iteration)
            shown = {"source": heard["source"], "converted": converted, "reference of the target": heard["target"]}
            files["spectrograms"] = self.reporter.image(name, spectrograms(shown), iteration)
            done.spoken.append(_Spoken(source, target, converted, files))
            if self.recognizer is not None and source.id not in self.heard:
                done.sources[source.id] = heard["source"]
                done.copies[source.id] = converter.copy_synthesis(heard["source"])
        return done

    def _say_again(self, vocoder: NeuralVocoder, device: torch.device, iteration: int) -> _Round:
        """The sources through features and the vocoder in training."""
        done, rate = _Round(), vocoder.spec.sample_rate
        for source in {source.id: source for source, _ in self.chosen}.values():
            try:
                heard = read_audio(self.manifest.file(source), rate)
            except AudioError:
                continue
            with torch.inference_mode():
                features = extract(torch.from_numpy(heard.samples).to(device), vocoder.spec)
                said = Audio(vocoder(features[None])[0].float().cpu().numpy(), rate)
            name = f"{source.id}_again"
            files = self._inputs(name, {"source": heard}, iteration)
            files |= {"target": files["source"], "converted": self.reporter.audio(name, said, iteration)}
            shown = {"source": heard, "said again": said}
            files["spectrograms"] = self.reporter.image(name, spectrograms(shown), iteration)
            done.spoken.append(_Spoken(source, source, said, files))
            if self.recognizer is not None and source.id not in self.heard:
                done.sources[source.id] = heard
        return done

    def _inputs(self, name: str, heard: dict[str, Audio], iteration: int) -> dict[str, Path]:
        """Source and reference as the model hears them, written once: they stay the same from round to round."""
        if name not in self.inputs:
            self.inputs[name] = {
                kind: self.reporter.audio(f"{name}_{kind}", clip, iteration) for kind, clip in heard.items()
            }
        return dict(self.inputs[name])

    def _listen(self, done: _Round, iteration: int) -> list[Transcript]:
        """What is heard in the conversions, none without a recognizer; the error rates of the round become known."""
        if self.recognizer is None:
            return []
        recognizer = self.recognizer
        self.heard |= zip(done.sources, recognizer.transcribe(list(done.sources.values())), strict=True)
        self.copies |= zip(done.copies, recognizer.transcribe(list(done.copies.values())), strict=True)
        heard = recognizer.transcribe([spoken.converted for spoken in done.spoken])
        rows = {spoken.source.id: spoken.source for spoken in done.spoken}
        keys = [spoken.source.id for spoken in done.spoken]
        told = {key: said for key, row in rows.items() if (said := recognizer.said(row)) is not None}
        own = mean_rate([(said, self.heard[key]) for key, said in told.items()])
        rate = mean_rate([(self.heard[key], found) for key, found in zip(keys, heard, strict=True)])
        copy = mean_rate([(self.heard[key], self.copies.get(key, found))
                          for key, found in dict(zip(keys, heard, strict=True)).items()])  # fmt: skip
        if not math.isnan(rate):  # something is heard in the sources
            judge = recognizer.name + ("" if math.isnan(own) else f", which errs in {own:.3f} of the sources")
            log.info("iteration %d: error rate of the samples %.3f, of copies %.3f, heard by %s", iteration, rate, copy,
                     judge)  # fmt: skip
            self.rates = {ERRORS: rate, f"{ERRORS}_copy": copy}
            self.rates |= {} if math.isnan(own) else {f"{ERRORS}_source": own}
        return heard

    def _tell(self, done: _Round, heard: list[Transcript], iteration: int) -> None:
        """A table of the round: who, what was said, sound and picture, what was heard."""
        kinds = ("source", "target", "converted", "spectrograms")
        words = ["heard in the source", "heard in the conversion"] if heard else []
        rows = []
        for number, spoken in enumerate(done.spoken):
            names = [iteration, spoken.source.speaker, spoken.target.speaker, spoken.source.text or ""]
            texts = [self.heard[spoken.source.id].text, heard[number].text] if heard else []
            rows.append([*names, *(spoken.files[kind] for kind in kinds), *texts])
        self.reporter.table(["iteration", "from", "to", "said", *kinds, *words], rows, iteration)
