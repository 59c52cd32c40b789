"""`python evaluate.py ckpt=[A,B] data=...`: systems side by side, with confidence intervals and a report.

`evaluation=NAME` runs another experiment instead.
"""

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from revoice.atomic import require_ours, require_writable
from revoice.cli.app import device, required, run, several
from revoice.cli.quoting import with_griffin_lim, without_dashes
from revoice.errors import UserError, choices

if TYPE_CHECKING:
    from revoice.evaluation.aspects import AspectProtocol, Matrix
    from revoice.evaluation.evaluate import Evaluation
    from revoice.evaluation.phone_error import PhoneProtocol
    from revoice.evaluation.privacy.session import Found, PrivacyProtocol
    from revoice.evaluation.protocol_file import ConversionSettings
    from revoice.studies.gram_protocol import GramProtocol, Identification

ERRORS = ("converted", "copy", "source")
EXAMPLE = "python evaluate.py ckpt=outputs/demo/model.ckpt data=synthetic"
PHONES_EXAMPLE = "python evaluate.py evaluation=phones ckpt=phones.safetensors data=synthetic"


def check(values: dict[str, Any]) -> None:
    """Refuse what cannot be evaluated, in one line, before a model is loaded or a corpus touched."""
    import revoice.conversion.generated
    import revoice.conversion.posteriors  # noqa: F401  a field
    from revoice.cli.systems import Speaking
    from revoice.data.config import build
    from revoice.evaluation.session import Protocol
    from revoice.settings import Given, Seed, checked, from_config

    evaluation = checked(Given, values.get("evaluation"), "evaluation")
    name = evaluation.get("name")
    if not isinstance(name, str) or name not in EXPERIMENTS:
        raise choices(name, EXPERIMENTS, "evaluation")
    if name == "gram_identification" and (values.get("ckpt") or values.get("model")):
        raise UserError("evaluation=gram_identification compares recordings: leave ckpt= and model= out")
    from_config(Speaking, values)
    if name in ("gram_identification", "phones") and values.get("f0"):
        raise UserError(f"f0={values['f0']}: evaluation={name} converts nothing: leave f0= out")
    checked(Seed, values.get("seed"), "seed")
    if name == "conversion":
        checked(Protocol, values.get("metrics"), "metrics")
        stored(values)
        check_loggers(values.get("logger"))
    else:
        protocol(values)
    build(checked(Given, values.get("data"), "data"))


def check_loggers(given: Any) -> None:
    """Refuse loggers that are none."""
    from revoice.settings import Given, checked
    from revoice.training.loggers import LOGGERS

    for name, options in (checked(Given | None, given, "logger") or {}).items():
        LOGGERS.check(name, checked(Given | None, options, f"logger.{name}") or {})


def stored(values: dict[str, Any]) -> "ConversionSettings":
    """The settings of `evaluation=conversion`; a file of a protocol that cannot be read is refused."""
    from revoice.evaluation.protocol_file import ConversionSettings
    from revoice.settings import from_mapping

    return from_mapping(ConversionSettings, values.get("evaluation") or {}, "evaluation")


def protocol(values: dict[str, Any]) -> "AspectProtocol | GramProtocol | PhoneProtocol | PrivacyProtocol":
    """What an experiment's own settings say."""
    from revoice.evaluation.phone_error import PhoneProtocol
    from revoice.settings import Word, checked, from_mapping
    from revoice.studies.gram_protocol import GramProtocol

    settings = {key: value for key, value in values["evaluation"].items() if key != "name"}
    if "protocol" in settings:  # a setting of evaluation=conversion
        name = values["evaluation"]["name"]
        raise UserError(f"evaluation.name={name} comes without its settings: type evaluation={name}")
    if values["evaluation"]["name"] == "gram_identification":
        return from_mapping(GramProtocol, settings, "evaluation")
    if values["evaluation"]["name"] == "aspects":
        from revoice.evaluation.aspects import AspectProtocol

        return from_mapping(AspectProtocol, settings, "evaluation")
    if values["evaluation"]["name"] == "privacy":
        from revoice.cli.privacy import privacy_protocol

        return privacy_protocol(settings)
    checked(Word | None, settings.pop("title", None), "evaluation.title")
    return from_mapping(PhoneProtocol, settings, "evaluation")


def task(values: dict[str, Any], folder: Path) -> Any:
    """Evaluate all checkpoints on one corpus, or run the experiment named by `evaluation=`; returns what was found."""
    check(values)
    default = Path("outputs") / "evaluate" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    out = Path(str(values["out"])).expanduser() if values["out"] else default
    require_writable(out, folder=True)
    return EXPERIMENTS[values["evaluation"]["name"]](values, out)


def _conversion(values: dict[str, Any], out: Path) -> "dict[str, Evaluation]":
    if not values.get("model"):
        required(values, "ckpt", EXAMPLE)
    return evaluate(several(values["ckpt"]) if values.get("ckpt") else [], values, out)


def _gram_identification(values: dict[str, Any], out: Path) -> "Identification":
    from revoice.audio.spec import FeatureSpec
    from revoice.data.config import build
    from revoice.studies.gram_identification import identify_speakers
    from revoice.studies.gram_report import FILES, reference_line, result_line, write_identification

    if "features" not in values:
        raise UserError("evaluation.name is set by its group: type evaluation=gram_identification")
    require_ours(out, FILES)
    how = cast("GramProtocol", protocol(values))
    spec, where = FeatureSpec.from_dict(values["features"]), device(values["device"])
    found = identify_speakers(build(values["data"]).manifest(), how, spec, int(values["seed"]), where)
    write_identification(out, found)
    print(reference_line(found))
    for outcome in found.outcomes:
        print(result_line(outcome))
    print(f"report: {out / 'report.html'}")
    return found


def _phones(values: dict[str, Any], out: Path) -> dict[str, Any]:
    from revoice.audio.spec import FeatureSpec
    from revoice.checkpoint.load import load_checkpoint
    from revoice.checkpoint.vocoder import load_vocoder
    from revoice.data.config import build
    from revoice.evaluation.phone_error import FILES, phone_errors, save

    require_ours(out, FILES)
    loaded = load_checkpoint(str(required(values, "ckpt", PHONES_EXAMPLE)), device(values["device"]))
    how = cast("PhoneProtocol", protocol(values))
    vocoder = None
    if values.get("features"):
        vocoder = load_vocoder(values["vocoder"], FeatureSpec.from_dict(values["features"]))
    manifest = build(values["data"]).manifest()
    title = values["evaluation"]["title"] or f"{manifest.corpus} {'+'.join(how.splits)}"
    found = phone_errors(loaded, manifest, how, vocoder)
    summary = save(found, str(title), {"checkpoint_sha256": loaded.sha256}, out, int(values["seed"]))
    print(f"{title}: " + "  ".join(f"{key} {value}" for key, value in summary.items()))
    return summary


def _aspects(values: dict[str, Any], out: Path) -> "dict[str, Matrix]":
    from revoice.cli.aspects import evaluate_aspects

    return evaluate_aspects(cast("AspectProtocol", protocol(values)), values, out)


def _privacy(values: dict[str, Any], out: Path) -> "Found":
    from revoice.cli.privacy import evaluate_privacy

    return evaluate_privacy(cast("PrivacyProtocol", protocol(values)), values, out)


EXPERIMENTS: dict[str, Callable[[dict[str, Any], Path], Any]] = {  # by `evaluation.name`
    "aspects": _aspects,
    "conversion": _conversion,
    "gram_identification": _gram_identification,
    "phones": _phones,
    "privacy": _privacy,
}


def evaluate(
    checkpoints: list[str], values: dict[str, Any], out: Path, extra: dict[str, Any] | None = None
) -> "dict[str, Evaluation]":
    """What the command and the demo share; prints the summary table."""
    from revoice.cli.systems import systems
    from revoice.data.config import build
    from revoice.evaluation.session import FILES, Protocol, evaluate_systems
    from revoice.settings import from_mapping

    require_ours(out, FILES)
    converters = systems(checkpoints, values, device(values["device"]))
    protocol = from_mapping(Protocol, values["metrics"], "metrics")
    manifest = build(values["data"]).manifest()
    how = stored(values)
    evaluations = evaluate_systems(
        converters, manifest, protocol, out, int(values["seed"]), extra,
        stored=how.protocol, cache=how.cache, show=True,
    )  # fmt: skip
    for name, evaluation in evaluations.items():
        for group, summary in evaluation.summaries.items():
            print(f"{name}, {group} voices: " + table_line(summary))
            for flag in evaluation.flags.get(group, []):
                print(f"  {flag.name}: {flag.text}")
    if values.get("logger"):
        from revoice.training.evaluation_log import log_evaluations

        log_evaluations(values["logger"], out, list(evaluations.values()))
    print(f"report: {out / 'report.html'}")
    return evaluations


def table_line(summary: dict[str, Any]) -> str:
    """The main numbers of one group on one line."""
    errors = [f"{p}{u}_{what}" for p in ("", "second_") for u in ("per", "cer") for what in ERRORS]
    keys = (
        "pairs", "closer_to_target", "cosine_target", "cosine_source", *(key for key in errors if key in summary),
        "mcd_converted", "mcd_unconverted", "mcd_ceiling", "f0_correlation", "real_time_factor",
    )  # fmt: skip
    shown = ((key, summary.get(key)) for key in keys)
    return "  ".join(f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in shown)


def main() -> None:
    """Entry point of `revoice-evaluate`."""
    typed = with_griffin_lim(without_dashes(sys.argv[1:]))
    sys.argv = [sys.argv[0], *(f"++{a}" if a.startswith("controls.") else a for a in typed)]
    run("evaluate", task)
