"""Checkpoints against a corpus: the conversions, who judges them, and the files that are left."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from revoice.atomic import REPORT, claim, sums_of
from revoice.conversion.converter import Converter
from revoice.data.corpora.manifest import Manifest
from revoice.data.prepare.progress import Progress
from revoice.errors import UserError
from revoice.evaluation.baselines import BASELINES, convert_by, spoken
from revoice.evaluation.cache import Cache, Conversions, RememberingRecognizer, RememberingVerifier
from revoice.evaluation.compare import Differences, differences
from revoice.evaluation.conversions import convert_batch
from revoice.evaluation.evaluate import DEFAULT_METRICS, Evaluation, build_metrics, run
from revoice.evaluation.listeners import choose
from revoice.evaluation.metrics.base import Metric
from revoice.evaluation.metrics.naturalness import Naturalness
from revoice.evaluation.protocol import Chosen
from revoice.evaluation.protocol import Protocol as Protocol
from revoice.evaluation.protocol import trials_for as trials_for
from revoice.evaluation.protocol import usable_trials as usable_trials
from revoice.evaluation.protocol_file import load_protocol, save_protocol
from revoice.evaluation.report import write_metrics, write_report, write_trials
from revoice.evaluation.results import write_latex, write_table
from revoice.evaluation.training_voices import taught_before, training_voices
from revoice.evaluation.verification import VERIFIERS, second_verifier
from revoice.evaluation.workers import Workers
from revoice.version import __version__

log = logging.getLogger(__name__)
PROTOCOL = "protocol.json"
FILES = ("report.html", "trials.csv", "metrics.csv", "table.tex", PROTOCOL)  # beside `metrics.json`


def evaluate_systems(
    converters: Mapping[str, Converter],
    manifest: Manifest,
    protocol: Protocol,
    folder: Path,
    seed: int = 0,
    extra: Mapping[str, Any] | None = None,
    *,
    stored: Path | None = None,
    cache: Path | None = None,
    show: bool = False,
) -> dict[str, Evaluation]:
    """Evaluate systems on the same trials and write `metrics.json`, `report.html` and what else is in `FILES`.

    Args:
        converters: by name of the system.
        manifest: of the corpus, with splits.
        protocol: which conversions.
        folder: of the report.
        seed: of the trials and the confidence intervals.
        extra: further entries for the top of `metrics.json`; callables are called last, so that a duration includes the
            report.
        stored: a file that says which conversions, see `load_protocol`; then `protocol` only says who judges.
        cache: folder for what is found out, so that it need not be found out again; None: nothing is kept.
        show: a progress bar.
    """
    known = training_voices([c.loaded.description for c in converters.values()], manifest)
    closed = next((name for name, c in converters.items() if c.model.target == "speaker"), "")
    if stored is not None:
        chosen = load_protocol(stored, manifest, known)
        taught = taught_before(chosen.trials.get("seen", ()), known)
        for remark in taught:
            log.warning("%s", remark)
        chosen = replace(chosen, remarks=(*chosen.remarks, *taught))
    else:
        chosen = usable_trials(manifest, protocol, known, seed, closed)
    _require_voices(converters, chosen)
    protocol, chosen = _with_possible(protocol, chosen)
    memory = Cache(cache) if cache else None
    evaluations, remark = _run_all(converters, manifest, protocol, chosen, seed, memory, show)
    compared = compare_systems(evaluations, seed)
    listed = list(evaluations.values())
    facts = _facts(converters, manifest, protocol, chosen)
    claim(folder)
    write_report(folder / "report.html", listed, "Voice conversion report", facts, remark, compared,
                 _configs(converters, protocol, seed))  # fmt: skip
    save_protocol(folder / PROTOCOL, chosen.trials, manifest, _about(protocol, seed, chosen))
    write_trials(folder / "trials.csv", listed)
    write_table(folder / "metrics.csv", listed)
    write_latex(folder / "table.tex", listed, compared)
    payload = _payload(evaluations, converters, extra or {}) | {"differences": _plain_differences(compared)}
    told = {"left_out": list(chosen.left_out), "remarks": list(chosen.remarks)}
    write_metrics(folder / REPORT, {**payload, **told, **sums_of(folder, FILES)})
    return evaluations


def _require_voices(converters: Mapping[str, Converter], chosen: Chosen) -> None:
    """Refuse trials to voices that a system with a table of voices cannot speak with."""
    wanted = {trial.target for trials in chosen.trials.values() for trial in trials}
    for name, converter in converters.items():
        lacking = sorted(wanted - set(converter.loaded.description.speakers))
        if converter.model.target == "speaker" and lacking:
            raise UserError(
                f"{name} speaks with the voices of its table alone, and {len(lacking)} of the {len(wanted)} target "
                f"voices are not among them ({', '.join(lacking[:3])}): leave it out, or choose other trials"
            )


def _with_possible(protocol: Protocol, chosen: Chosen) -> tuple[Protocol, Chosen]:
    """Without the baselines that have nothing to say, which is told."""
    mute = [name for name in protocol.baselines if not spoken(name, chosen.trials)]
    left = tuple(f"baseline {name}: no target voice was recorded saying a source's sentence" for name in mute)
    for note in left:
        log.warning("left out: %s", note)
    kept = tuple(name for name in protocol.baselines if name not in mute)
    return replace(protocol, baselines=kept), replace(chosen, left_out=(*chosen.left_out, *left))


def _run_all(
    converters: Mapping[str, Converter],
    manifest: Manifest,
    protocol: Protocol,
    chosen: Chosen,
    seed: int,
    memory: Cache | None,
    show: bool,
) -> tuple[dict[str, Evaluation], str]:
    """Every system and every baseline, and what is to be remarked of their judges."""
    evaluations = {}
    with Workers(_workers(protocol)) as workers:
        metrics, remark = judges(converters, manifest, protocol, workers, memory)
        for name, converter in converters.items():
            evaluations[name] = run(
                chosen.trials, convert_batch(converter), converter.copy_synthesis, manifest, metrics,
                name=name, circular=knows_verifier(converter), stands_on=converter.model.stands_on, seed=seed,
                device=str(converter.device), memory=Conversions(memory, _identity(converter)) if memory else None,
                progress=_Bar(name, show),
            )  # fmt: skip
        vocode = next(iter(converters.values())).copy_synthesis
        for name in protocol.baselines:
            title = f"({name})"
            evaluations[title] = run(
                spoken(name, chosen.trials), convert_by(name, vocode), vocode, manifest, metrics, name=title, seed=seed,
                progress=_Bar(title, show), possible=BASELINES[name].possible,
            )  # fmt: skip
    return evaluations, remark


def judges(
    converters: Mapping[str, Converter],
    manifest: Manifest,
    protocol: Protocol,
    workers: Workers,
    memory: Cache | None = None,
    names: Sequence[str] | None = None,
) -> tuple[list[Metric], str]:
    """The metrics that these systems need, and what the report has to say about who judges.

    Args:
        converters: by name of the system.
        manifest: of the corpus.
        protocol: who is asked for.
        workers: for the analyses.
        memory: of what was found out before.
        names: which metrics; None: all.
    """
    device = str(next(iter(converters.values())).device)
    listening = choose(
        protocol.recognizer, protocol.second_recognizer, {name: c.model.stands_on for name, c in converters.items()},
        device,
    )  # fmt: skip
    circular = [name for name, converter in converters.items() if knows_verifier(converter)]
    second, remark = second_verifier(protocol.second_verifier, circular, device)
    first = VERIFIERS.build("resemblyzer", {}, {"device": device})
    ears = [listening.first, listening.second]
    if memory:
        first, second = RememberingVerifier(first, memory), RememberingVerifier(second, memory) if second else None
        ears = [RememberingRecognizer(one, memory) if one else None for one in ears]
    if not names:
        names = [name for name in DEFAULT_METRICS if name != "naturalness" or natural(protocol)]
    metrics = build_metrics(
        manifest, names=names, verifier=first, workers=workers, recognizer=ears[0],
        second_recognizer=ears[1], second_verifier=second,
    )  # fmt: skip
    return metrics, " ".join(filter(None, [listening.remark, remark]))


def natural(protocol: Protocol) -> bool:
    """Whether DNSMOS is asked."""
    return not Naturalness.missing() if protocol.naturalness is None else protocol.naturalness


def compare_systems(evaluations: Mapping[str, Evaluation], seed: int = 0) -> dict[str, Differences]:
    """Paired tests between all systems, by group."""
    groups = dict.fromkeys(group for e in evaluations.values() for group in e.summaries)
    columns = list({c.key: c for e in evaluations.values() for c in e.columns if c.explain}.values())
    return {
        group: differences({n: e.records[group] for n, e in evaluations.items() if group in e.records}, columns, seed)
        for group in groups
    }


def knows_verifier(converter: Converter) -> bool:
    """Whether a system is conditioned on Resemblyzer, or was taught by it."""
    return "embedding" in converter.model.requires.fields or "resemblyzer" in converter.model.stands_on


def _about(protocol: Protocol, seed: int, chosen: Chosen) -> dict[str, Any]:
    if chosen.source:
        return {"file": chosen.source}
    names = (
        "groups", "voices", "pairs", "by", "sentences_per_pair", "same_sources", "parallel", "references",
    )  # fmt: skip
    return {"revoice": __version__, "seed": seed, **{name: getattr(protocol, name) for name in names}}


def _facts(
    converters: Mapping[str, Converter], manifest: Manifest, protocol: Protocol, chosen: Chosen
) -> dict[str, object]:
    steps = next((c.adaptation.steps for c in converters.values() if c.model.adapts), 0)
    systems = [f"{name}: {c.model.name} ({c.loaded.sha256})" for name, c in converters.items()]
    systems += [f"({name}): {BASELINES[name].explain}" for name in protocol.baselines]
    given = sorted({len(trial.references) for trials in chosen.trials.values() for trial in trials})
    clips = f"{given[0]}" if len(given) == 1 else f"{given[0]} to {given[-1]}"
    facts: dict[str, object] = {
        "systems" if len(systems) > 1 else "model": systems,
        "data": f"{manifest.corpus}, {len(manifest.speakers)} voices, manifest {manifest.digest()}",
        "conversions": f"{chosen.count}, each given {clips} clip(s) of the target voice"
        + (f", {steps} steps of adaptation to them" if steps else ""),
        "protocol": chosen.source or f"chosen by the settings below; {PROTOCOL} gives the same pairs to others",
        "vocoder": next(iter(converters.values())).vocoder.name, "revoice": __version__,
    }  # fmt: skip
    told = {"left out": list(chosen.left_out), "remarks": list(chosen.remarks)}
    return facts | {title: lines for title, lines in told.items() if lines}


def _configs(converters: Mapping[str, Converter], protocol: Protocol, seed: int) -> dict[str, Any]:
    systems = {name: {**c.describe(), "controls": asdict(c.controls({}))} for name, c in converters.items()}
    return {"seed": seed, "metrics": asdict(protocol), "systems": systems}


def _payload(
    evaluations: Mapping[str, Evaluation], converters: Mapping[str, Converter], extra: Mapping[str, Any]
) -> dict[str, Any]:
    about = {name: {**c.describe(), "controls": asdict(c.controls({}))} for name, c in converters.items()}
    head = {"version": __version__, **{key: value() if callable(value) else value for key, value in extra.items()}}
    found = {name: {**about.get(name, {}), **e.summaries, "flags": _flags(e)} for name, e in evaluations.items()}
    return {**head, **(next(iter(found.values())) if len(found) == 1 else {"systems": found})}


def _flags(evaluation: Evaluation) -> dict[str, dict[str, str]]:
    return {group: {flag.name: flag.text for flag in found} for group, found in evaluation.flags.items()}


def _plain_differences(compared: Mapping[str, Differences]) -> dict[str, Any]:
    return {
        group: {key: {f"{a} - {b}": d.facts() for (a, b), d in pairs.items()} for key, pairs in found.items()}
        for group, found in compared.items()
    }


def _identity(converter: Converter) -> dict[str, Any]:
    """All that decides what a system says, and how fast."""
    where = converter.device
    device = torch.cuda.get_device_name(where) if where.type == "cuda" else str(where)
    return {**converter.describe(), "controls": asdict(converter.controls({})), "device": device}


class _Bar:
    """What `run` tells of its progress, as a bar for each stage.

    Args:
        name: of the system.  show: whether there is a bar at all.
    """

    def __init__(self, name: str, show: bool) -> None:
        self.name, self.show = name, show
        self.stage, self.done, self.bar = "", 0, Progress("", 0, False)

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self.stage:
            self.stage, self.done = stage, 0
            self.bar = Progress(f"{self.name}: {stage}", total, self.show)
            self.bar.__enter__()
        self.bar.advance(done - self.done, 0.0)
        self.done = done
        if done >= total:
            self.bar.__exit__(None, None, None)


def _workers(protocol: Protocol) -> int:
    from revoice.data.prepare.workers import usable_cpus

    return usable_cpus() if protocol.workers is None else protocol.workers
