"""`revoice-export ckpt=RUN_OR_FILE out=model.safetensors`: weights and description in a file that cannot carry code."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revoice.cli.app import required, run, several

if TYPE_CHECKING:
    from revoice.checkpoint.description import Description

EXAMPLE = "revoice-export ckpt=outputs/train/adain_vc/RUN out=model.safetensors"


def task(values: dict[str, Any], folder: Path) -> Path:
    """Export one checkpoint."""
    from revoice.checkpoint.load import load_checkpoint
    from revoice.checkpoint.save import save
    from revoice.errors import UserError

    out = Path(str(required(values, "out", EXAMPLE))).expanduser()
    if out.suffix != ".safetensors":
        raise UserError(f"out={out}: expected a name that ends in .safetensors; for example: {EXAMPLE}")
    half = values.get("half", False)
    if half not in (True, False):
        raise UserError(f"half={half}: expected true or false")
    loaded = load_checkpoint(required(values, "ckpt", EXAMPLE))
    description = with_facts(loaded.description, several(values["facts"]) if values.get("facts") else [])
    save(loaded.model, description, out, half=half)
    print(f"wrote {out} and {out.with_suffix('.json')}")
    return out


def with_facts(description: "Description", files: list[str]) -> "Description":
    """The description with what was measured: `phone_error` of every metrics.json."""
    from revoice.errors import UserError
    from revoice.foreign import parse_json

    found: dict[str, Any] = {}
    for name in files:
        try:
            found |= parse_json(Path(name).expanduser().read_text(encoding="utf-8"))["phone_error"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UserError(f"facts={name}: expected the metrics.json of evaluate.py evaluation=phones") from error
    return replace(description, data={**description.data, "phone_error": found}) if found else description


def main() -> None:
    """Entry point of `revoice-export`."""
    run("export", task)
