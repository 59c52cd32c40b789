"""`python import_checkpoint.py kind=... path=... out=...`: published weights into a checkpoint of revoice."""

from pathlib import Path
from typing import Any

from revoice.cli.app import required, run
from revoice.cli.quoting import PATH_KEYS

EXAMPLE = "python import_checkpoint.py kind=adain_vc path=vctk_model.ckpt out=adain_vc.safetensors"


def task(values: dict[str, Any], folder: Path) -> Path:
    """Convert one file."""
    from revoice.conversion.checkpoint import Description, save
    from revoice.errors import UserError
    from revoice.interop.importers import IMPORTERS

    importer = IMPORTERS.get(str(required(values, "kind", EXAMPLE)))
    path = Path(str(required(values, "path", EXAMPLE))).expanduser()
    out = Path(str(required(values, "out", EXAMPLE))).expanduser()
    if out.suffix not in (".ckpt", ".safetensors"):
        raise UserError(f"out={out}: expected a name that ends in .ckpt or .safetensors; for example: {EXAMPLE}")
    if not path.is_file():
        raise UserError(f"path={path} does not exist: give the published file; for example: {EXAMPLE}")
    extra = {key: Path(str(values[key])).expanduser() for key in ("config", "statistics") if values.get(key)}
    imported = importer().read(path, **extra)
    description = Description(
        model=imported.name, arguments=imported.arguments, features=imported.spec.to_dict(), trim_db=imported.trim_db,
        data={"imported_from": path.name},
    )  # fmt: skip
    save(imported.model, description, out)
    print(f"wrote {out}; convert with: python convert.py ckpt={out} src=a.wav tgt=b.wav")
    return out


def main() -> None:
    """Entry point of `revoice-import-checkpoint`."""
    run("import_checkpoint", task, PATH_KEYS | {"config", "statistics"})
