"""Data, network and their description, as a run is configured: everything before training starts."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from pytorch_lightning import seed_everything

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import Description, packed, spec_facts
from revoice.checkpoint.load import Loaded, load_checkpoint
from revoice.data.config import build as build_data
from revoice.data.corpora.splits import mark
from revoice.data.datamodule import DataModule
from revoice.data.setup import DataSetup
from revoice.errors import UserError
from revoice.models.base import ConversionModel
from revoice.registry import accepted
from revoice.trainable import Trainable
from revoice.training.adversary import critic_sizes
from revoice.training.codes import adopt_codes, require_emotions, require_same_codes, settle_codes
from revoice.training.config import TrainConfig
from revoice.training.content import adopt, carry_over, fitted, made_fields, settle
from revoice.training.trainer import Place, TrainerSettings, place, precision, slowed_by_bf16

log = logging.getLogger(__name__)
MOMENTS = {"muon": 1}  # numbers that an optimizer keeps for each weight; others keep two


@dataclass(frozen=True)
class Parts:
    """Everything built for a run, before training starts."""

    data: DataModule
    spec: FeatureSpec
    model: Trainable
    description: Description
    trainer: TrainerSettings


def build(config: Mapping[str, Any], run: TrainConfig) -> Parts:
    """Prepare the data if needed and build the model."""
    start = load_checkpoint(run.init_from) if run.init_from else None
    spec = start.spec if start else run.features
    registry, name, values = run.learner
    coder: Loaded | None = None
    under = start if start and start.description.model == registry.get(name).grows_from else None
    start = None if under else start
    given = on_device(config["data"], place(run.trainer))
    if not start:
        values, encoder = settle(name, values)
        values, coder = settle_codes(values, spec, _settings_of_fields(given))
    setup = build_data(searched_alike(given, start or under or coder))
    facts = {**spec_facts(spec), "n_speakers": len(setup.training_speakers()), "spec": spec}
    if "emotions" in accepted(registry.get(name)):
        facts["emotions"] = list(setup.emotions())
    if start:
        model, arguments = _continue(start, run)
        require_same_codes(start, values)
        require_emotions(arguments, setup.emotions(), start)
        teacher = values.get("content_from")
        encoder = load_checkpoint(teacher) if teacher else start
    else:
        arguments = registry.arguments(name, values, facts)
        model = registry.build(name, arguments)
        adopt(model, encoder)
        adopt_codes(model, coder)
    requires = model.requires
    if any(phase.batches == "stored" for phase in run.schedule or ()):
        requires = replace(requires, fields=tuple(dict.fromkeys((*requires.fields, "generated"))))
    if config["data"].get("generated_by") is not None and "generated" not in requires.fields:
        raise UserError(f"data.generated_by: {name} does not ask what a model made: leave it out")
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
    require_emotions(arguments, data.tables.emotions, start)
    voices = list(data.tables.speakers)
    if isinstance(model, ConversionModel) and model.target == "none" and len(voices) > 1:
        log.warning(
            "%s learns to speak with the one voice of its data, and these have %d: it learns a mixture of them; "
            "one alone: data.speakers=[%s]", name, len(voices), voices[0],
        )  # fmt: skip
    counts = data.label_counts()
    if counts is not None:
        model.set_labels(counts)
    if not start and requires.frames is not None:
        statistics = data.statistics()
        model.set_statistics(torch.as_tensor(statistics.mean).float(), torch.as_tensor(statistics.std).float())
    if model.speaker_pitch:
        pairs = zip(data.pitch_levels(), data.pitch_deviations(), strict=True)
        known = [[math.nan if value is None else value for value in pair] for pair in pairs]
        model.set_pitch(torch.tensor(known).reshape(-1, 2), fresh=not start)
    if under:
        model.grow_from(under.model)
    model.set_features(spec)
    made_by = encoder if "content" in model.requires.fields else None
    plain = {key: value for key, value in arguments.items() if key != "spec"}
    description = _description(model, registry.kind, plain, spec, setup, data, made_by)
    description = description.after(loaded.description for loaded in (start, under, encoder, coder) if loaded)
    return Parts(data, spec, model, description, run.trainer)


def on_device(data: Mapping[str, Any], where: Place) -> dict[str, Any]:
    """Settings of the data, which a GPU holds itself where nothing else is said and it fits.

    >>> on_device({"name": "vctk"}, Place("cuda", 1)), on_device({"device": "cpu"}, Place("cuda", 1))
    ({'name': 'vctk', 'device': 'cuda'}, {'device': 'cpu'})
    """
    chosen = data.get("device") or ("cuda" if where.accelerator == "cuda" and not data.get("stream") else None)
    return {**data, **({"device": chosen} if chosen else {})}


def searched_alike(data: Mapping[str, Any], earlier: Loaded | None) -> dict[str, Any]:
    """Settings of the data, of which the pitch is searched as for an earlier model, where nothing else is said."""
    known = earlier.description.fields.get("f0") if earlier else None
    fields = _settings_of_fields(data)
    if not known:
        return dict(data)
    search = {**known, **(fields.get("f0") or {})}
    return {**data, "prepare": {**(data.get("prepare") or {}), "fields": {**fields, "f0": search}}}


def _settings_of_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    return dict((data.get("prepare") or {}).get("fields") or {})


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
    if where.accelerator == "cpu" and parts.trainer.precision == "bf16-mixed" and (times := slowed_by_bf16()) > 2:
        lines.append(f"slow      products in bf16 take {times:.0f} times as long here: leave trainer.precision out")
    critics = critic_sizes(config.get("critics") or {}, parts.model.judged)
    if critics:
        lines.append("critics   " + ", ".join(f"{name} {size:,}" for name, size in critics.items()))
    if config.get("callbacks", {}).get("checkpoint") is not None:
        copies = 1 + MOMENTS.get(config["optimizer"]["name"], 2) + bool(config["callbacks"].get("ema"))
        megabytes = 4e-6 * (total + sum(critics.values())) * copies
        lines.append(f"leaves    best.ckpt and last.ckpt of about {megabytes:,.0f} MB each, samples and logs")
    if batch is not None:
        shapes = {f: tuple(v.shape) for f, v in vars(batch).items() if isinstance(v, torch.Tensor)}
        lines.append("batch     " + ", ".join(f"{name} {shape}" for name, shape in shapes.items()))
    return "\n".join(lines)


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
        levels=data.pitch_levels() if model.target != "clips" else [],
        sentences=packed(_marks(setup, data)),
        data={
            "corpus": data.facts.corpus,
            "manifest": data.facts.manifest,
            "utterances": data.facts.utterances,
            **({"content_from": encoder.description.data or encoder.sha256} if encoder else {}),
        },
    )


def _marks(setup: DataSetup, data: DataModule) -> dict[str, set[str]]:
    """What is said in the recordings of training and validation, by corpus; empty where only a stream of it is here."""
    everything = setup.manifest() if setup.stream and setup.at_hand else data.recordings()
    if everything is None:
        return {}
    return {data.facts.corpus: {mark(row) for row in everything.select("train", "val")}}


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
