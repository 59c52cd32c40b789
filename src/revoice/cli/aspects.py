"""`python evaluate.py evaluation=aspects ckpt=...`: each aspect of speech swapped alone, and what moved."""

from pathlib import Path
from typing import Any

from revoice.atomic import require_ours
from revoice.cli.app import device, required, several
from revoice.cli.systems import systems
from revoice.data.config import build
from revoice.evaluation.aspects import AspectProtocol, Matrix, measure, parallel_trials
from revoice.evaluation.aspects_report import FILES, lines, write_aspects
from revoice.evaluation.listeners import choose
from revoice.evaluation.protocol import Protocol
from revoice.evaluation.session import knows_verifier
from revoice.evaluation.training_voices import training_voices
from revoice.evaluation.verification import VERIFIERS, second_verifier
from revoice.settings import from_mapping

EXAMPLE = "python evaluate.py evaluation=aspects ckpt=SPEECHSPLIT data=synthetic"


def evaluate_aspects(how: AspectProtocol, values: dict[str, Any], out: Path) -> dict[str, Matrix]:
    """Measure all checkpoints, write the report, print the tables."""
    require_ours(out, FILES)
    where, paths = device(values["device"]), several(required(values, "ckpt", EXAMPLE))
    converters = systems(paths, values, where)
    who = from_mapping(Protocol, values["metrics"], "metrics")
    stands_on = {name: one.model.stands_on for name, one in converters.items()}
    listening = choose(who.recognizer, who.second_recognizer, stands_on, where)
    recognizers = [each for each in (listening.first, listening.second) if each is not None]
    manifest = build(values["data"]).manifest()
    trained_on = training_voices([one.loaded.description for one in converters.values()], manifest)
    trials = parallel_trials(manifest, how, trained_on, int(values["seed"]))
    circular = [name for name, one in converters.items() if knows_verifier(one)]
    second, _ = second_verifier(who.second_verifier, circular, where)
    verifiers = [VERIFIERS.build("resemblyzer", {}, {"device": where}), *([second] if second else [])]
    found = {}
    for name, converter in converters.items():
        found[name] = measure(converter, trials, manifest, verifiers, recognizers)
        print("\n".join([f"{name}: {len(trials)} pairs of recordings", *lines(found[name])]))
    facts = {
        "model": [f"{name}: {one.model.name} ({one.loaded.sha256})" for name, one in converters.items()],
        "data": f"{manifest.corpus}, {len(trials)} pairs of recordings of unseen voices that say the same",
        "vocoder": next(iter(converters.values())).vocoder.name,
        "voices judged by": "resemblyzer"
        + (f", which {', '.join(circular)} knows" if circular else "")
        + (f"; beside it by {second.name} ({second.weights})" if second else ""),
    }  # fmt: skip
    write_aspects(out, found, facts)
    print(f"report: {out / 'report.html'}")
    return found
