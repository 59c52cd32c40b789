"""`python convert.py ckpt=... src=... tgt=...`: one clip, a list, a folder or a glob into the voice of the target."""

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from revoice.atomic import write_text
from revoice.cli.app import device, required, run, several, to_json
from revoice.errors import UserError

EXAMPLE = "python convert.py ckpt=outputs/demo/model.ckpt src=a.wav tgt=b.wav"
KEYS = ("ckpt", "src", "tgt", "out", "device", "vocoder", "adapt", "controls", "hydra")


def task(values: dict[str, Any], folder: Path) -> list[Path]:
    """Convert all sources; returns the files written."""
    ckpt = required(values, "ckpt", EXAMPLE)
    sources = required(values, "src", EXAMPLE)
    targets = required(values, "tgt", EXAMPLE)

    from revoice.conversion.adaptation import Adaptation
    from revoice.conversion.checkpoint import load_checkpoint
    from revoice.conversion.converter import Converter
    from revoice.conversion.jobs import convert_files, plan
    from revoice.vocoders.base import VOCODERS

    where, adaptation = device(values["device"]), Adaptation.of(values["adapt"])
    references = [Path(t).expanduser() for t in several(targets)]
    default = Path("outputs") / "convert" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    jobs = plan(several(sources), references, Path(str(values["out"])).expanduser() if values["out"] else default)
    loaded = load_checkpoint(str(ckpt), where)
    vocoder = dict(values["vocoder"])
    name = vocoder.pop("name")
    converter = Converter(loaded, VOCODERS.build(name, {**vocoder, "spec": loaded.spec}), where, adaptation)
    controls = converter.controls(values["controls"])
    began = time.perf_counter()
    result = convert_files(converter, jobs, references, controls, show=sys.stderr.isatty())
    seconds = time.perf_counter() - began
    for path in result.written:
        print(path)
    if result.skipped:
        for skipped in result.skipped:
            print(f"skipped: {skipped.reason}", file=sys.stderr)
        record = jobs[0].out.parent / "skipped.json"
        write_text(record, to_json([vars(s) for s in result.skipped]))
    if not result.written:
        raise UserError(
            result.skipped[0].reason if len(result.skipped) == 1 else f"none of {len(jobs)} sources could be converted"
        )
    if len(jobs) > 1:
        print(
            f"{len(result.written)} converted, {len(result.skipped)} skipped, {result.seconds / seconds:.1f}x real time"
        )
    return result.written


def main() -> None:
    """Entry point of `revoice-convert`: settings that are not the command's own are the model's controls."""
    sys.argv = [sys.argv[0], *(_as_control(argument) for argument in sys.argv[1:])]
    run("convert", task)


def _as_control(argument: str) -> str:
    key, equals, _ = argument.partition("=")
    own = key.lstrip("+~").split(".")[0] in KEYS or key.startswith("-") or not equals
    return argument if own else f"+controls.{argument}"
