"""`python evaluate.py ckpt=[A,B] data=...`: systems side by side, with confidence intervals and a report."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revoice.cli.app import device, required, run, several

if TYPE_CHECKING:
    from revoice.evaluation.evaluate import Evaluation

EXAMPLE = "python evaluate.py ckpt=outputs/demo/model.ckpt data=synthetic"


def task(values: dict[str, Any], folder: Path) -> "dict[str, Evaluation]":
    """Evaluate all checkpoints on one corpus; returns the evaluations by system."""
    if not values.get("model"):
        required(values, "ckpt", EXAMPLE)
    checkpoints = several(values["ckpt"]) if values.get("ckpt") else []
    default = Path("outputs") / "evaluate" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    out = Path(str(values["out"])).expanduser() if values["out"] else default
    return evaluate(checkpoints, values, out)


def evaluate(
    checkpoints: list[str], values: dict[str, Any], out: Path, extra: dict[str, Any] | None = None
) -> "dict[str, Evaluation]":
    """What the command and the demo share; prints the summary table."""
    from revoice.cli.systems import from_checkpoint, from_settings
    from revoice.conversion.converter import Converter
    from revoice.data.config import build
    from revoice.evaluation.session import Protocol, evaluate_systems
    from revoice.registry import from_mapping

    where = device(values["device"])
    converters: dict[str, Converter] = {}
    for path in checkpoints:
        converter = from_checkpoint(path, values, where)
        converters[_name(Path(path), converters)] = converter
    if values.get("model"):
        converter = from_settings(values, where)
        converters[_name(Path(converter.model.name), converters)] = converter
    protocol = from_mapping(
        Protocol, {k: tuple(v) if isinstance(v, list) else v for k, v in values["metrics"].items()}, "metrics"
    )
    manifest = build(values["data"]).manifest()
    evaluations = evaluate_systems(converters, manifest, protocol, out, int(values["seed"]), extra)
    for name, evaluation in evaluations.items():
        for group, summary in evaluation.summaries.items():
            print(f"{name}, {group} voices: " + table_line(summary))
    print(f"report: {out / 'report.html'}")
    return evaluations


def table_line(summary: dict[str, Any]) -> str:
    """The main numbers of one group on one line."""
    keys = (
        "pairs", "closer_to_target", "cosine_target", "cosine_source", "mcd_converted", "mcd_unconverted",
        "mcd_ceiling", "f0_correlation", "real_time_factor",
    )  # fmt: skip
    shown = ((key, summary.get(key)) for key in keys)
    return "  ".join(f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in shown)


def _name(given: Path, taken: dict[str, Any]) -> str:
    name = given.stem if given.suffix else given.name
    while name in taken:
        name = f"{name}'"
    return name


def main() -> None:
    """Entry point of `revoice-evaluate`."""
    sys.argv = [sys.argv[0], *(f"++{a}" if a.startswith("controls.") else a for a in sys.argv[1:])]
    run("evaluate", task)
