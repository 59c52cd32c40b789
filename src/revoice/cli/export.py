"""`revoice-export ckpt=RUN_OR_FILE out=model.safetensors`: weights and description in a file that cannot carry code.

`out=model.onnx` writes a graph for programs without torch.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from revoice.cli.app import required, run
from revoice.errors import UserError
from revoice.settings import Flag, Place, Words, from_config, settings

EXAMPLE = "revoice-export ckpt=outputs/train/adain_vc/RUN out=model.safetensors"


@settings
class ExportConfig:
    """What `configs/export.yaml` documents."""

    ckpt: Place | None = None
    out: Place | None = None
    facts: Words | None = None
    half: Flag = False


def check(values: dict[str, Any]) -> ExportConfig:
    """Refuse what cannot be exported, in one line, before a checkpoint is read."""
    from revoice.checkpoint.load import find_checkpoint

    given = from_config(ExportConfig, values)
    for key in ("out", "ckpt"):
        required(values, key, EXAMPLE)
    assert given.out is not None and given.ckpt is not None
    if given.out.suffix not in (".safetensors", ".onnx"):
        raise UserError(f"out={given.out}: expected a name that ends in .safetensors or .onnx; for example: {EXAMPLE}")
    if given.out.suffix == ".onnx":
        if given.half:
            raise UserError("half=true: an .onnx file has 32 bits: leave it out, or name a .safetensors file")
        if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
            raise UserError(f"out={given.out} needs {', '.join(missing)}: type pip install 'revoice[export]'")
    find_checkpoint(given.ckpt)
    return given


def task(values: dict[str, Any], folder: Path) -> Path:
    """Write the checkpoint `ckpt` without what only training needs to `out`; returns the file."""
    from revoice.checkpoint.load import find_checkpoint, load_checkpoint
    from revoice.checkpoint.save import require_free, save

    given = check(values)
    assert given.out is not None and given.ckpt is not None
    out, half = given.out, given.half
    require_free(out, find_checkpoint(given.ckpt))
    facts = measured(given.facts or ())
    loaded = load_checkpoint(given.ckpt)
    description = loaded.description
    if facts:
        description = replace(description, data={**description.data, "phone_error": facts})
    if out.suffix == ".onnx":
        from revoice.interop.onnx import left_out, write_onnx

        error = write_onnx(loaded, description, out)
        print(f"wrote {out}, {out.with_suffix('.json')} and {out.with_suffix('.npz')}: onnxruntime is {error:.0e} off")
        if dropped := left_out(loaded.model):
            print(f"it is the network alone, without {' and '.join(dropped)}")
        return out
    save(loaded.model, description, out, half=half)
    print(f"wrote {out} and {out.with_suffix('.json')}")
    return out


def measured(files: Sequence[str]) -> dict[str, Any]:
    """What was measured: `phone_error` of every metrics.json."""
    from revoice.foreign import parse_json

    found: dict[str, Any] = {}
    for name in files:
        try:
            found |= parse_json(Path(name).expanduser().read_text(encoding="utf-8"))["phone_error"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UserError(f"facts={name}: expected the metrics.json of evaluate.py evaluation=phones") from error
    return found


def main() -> None:
    """Entry point of `revoice-export`."""
    run("export", task)
