"""`python convert.py ckpt=... src=... tgt=...`: one clip, a list, a folder or a glob into the voice of the target."""

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from revoice.atomic import write_text
from revoice.cli.app import device, required, run, several, to_json
from revoice.errors import UserError

EXAMPLE = "python convert.py src=a.wav tgt=b.wav"
UNTRAINED = "python convert.py model=random_cnn src=a.wav tgt=b.wav"
KEYS = ("ckpt", "model", "features", "src", "tgt", "out", "device", "vocoder", "adapt", "controls", "hydra")


def check(values: dict[str, Any]) -> None:
    """Refuse what cannot be converted with, in one line, before a model is loaded."""
    from revoice.checkpoint.load import DEFAULT
    from revoice.cli.systems import Speaking
    from revoice.settings import Words, checked, from_config

    for key in ("src", "tgt"):
        checked(Words | None, values.get(key), key)
    speaks = values.get("ckpt") or (None if values.get("model") else DEFAULT)
    from_config(Speaking, {**values, "ckpt": speaks})


def task(values: dict[str, Any], folder: Path) -> list[Path]:
    """Convert all sources; returns the files written."""
    if values.get("ckpt") and values.get("model"):
        raise UserError(f"ckpt= and model= both say what converts: give one; for example: {EXAMPLE} or {UNTRAINED}")
    if not values.get("model") and values.get("features"):
        raise UserError("a checkpoint has its own features: leave features= out")
    sources = required(values, "src", EXAMPLE)
    targets = required(values, "tgt", EXAMPLE)
    check(values)

    from revoice.checkpoint.load import DEFAULT
    from revoice.cli.systems import from_checkpoint, from_settings
    from revoice.cli.watch import Watcher
    from revoice.conversion.jobs import convert_files, plan

    where = device(values["device"])
    references = [Path(t).expanduser() for t in several(targets)]
    default = Path("outputs") / "convert" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    ckpt = values.get("ckpt") or (None if values.get("model") else DEFAULT)
    converter = None if ckpt else from_settings(values, where)
    jobs = plan(several(sources), references, Path(str(values["out"])).expanduser() if values["out"] else default)
    converter = converter or from_checkpoint(str(ckpt), values, where)
    if not values.get("ckpt") and not values.get("model"):
        print("no ckpt= is given: the converter that ships speaks (docs/voice.md)", file=sys.stderr)
    controls = converter.controls({})
    began = time.perf_counter()
    show = sys.stderr.isatty()  # one bar at a time: of the files, or of the iterations of a single one
    with Watcher(converter, references, show and len(jobs) == 1) as watcher:
        result = convert_files(converter, jobs, references, controls, show, watcher)
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
    return argument if own else f"++controls.{argument}"
