"""`revoice-export ckpt=RUN_OR_FILE out=model.safetensors`: weights and description in a file that cannot carry code."""

from pathlib import Path
from typing import Any

from revoice.cli.app import required, run

EXAMPLE = "revoice-export ckpt=outputs/train/adain_vc/RUN out=model.safetensors"


def task(values: dict[str, Any], folder: Path) -> Path:
    """Export one checkpoint."""
    from revoice.conversion.checkpoint import load_checkpoint, save
    from revoice.errors import UserError

    out = Path(str(required(values, "out", EXAMPLE))).expanduser()
    if out.suffix != ".safetensors":
        raise UserError(f"out={out}: expected a name that ends in .safetensors; for example: {EXAMPLE}")
    half = values.get("half", False)
    if half not in (True, False):
        raise UserError(f"half={half}: expected true or false")
    loaded = load_checkpoint(required(values, "ckpt", EXAMPLE))
    save(loaded.model, loaded.description, out, half=half)
    print(f"wrote {out} and {out.with_suffix('.json')}")
    return out


def main() -> None:
    """Entry point of `revoice-export`."""
    run("export", task)
