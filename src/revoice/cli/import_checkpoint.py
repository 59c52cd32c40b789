"""`python import_checkpoint.py kind=... path=... out=...`: published weights into a checkpoint of revoice."""

from pathlib import Path
from typing import Any

from revoice.cli.app import required, run
from revoice.cli.quoting import PATH_KEYS

EXAMPLE = "python import_checkpoint.py kind=adain_vc path=vctk_model.ckpt out=adain_vc.safetensors"


def task(values: dict[str, Any], folder: Path) -> Path:
    """Read one published model and write ours."""
    from revoice.checkpoint.description import Description
    from revoice.checkpoint.save import save
    from revoice.errors import UserError
    from revoice.interop.importers import IMPORTERS

    importer = IMPORTERS.get(str(required(values, "kind", EXAMPLE)))
    path = Path(str(required(values, "path", EXAMPLE))).expanduser()
    out = Path(str(required(values, "out", EXAMPLE))).expanduser()
    if out.suffix not in (".ckpt", ".safetensors"):
        raise UserError(f"out={out}: expected a name that ends in .ckpt or .safetensors; for example: {EXAMPLE}")
    half = values.get("half")
    if half not in (None, True, False):
        raise UserError(f"half={half}: expected true, false or null, which means as in the published file")
    extra = {key: Path(str(values[key])).expanduser() for key in ("config", "statistics") if values.get(key)}
    imported = importer().read(path, **extra)
    description = Description(
        model=imported.name, arguments=imported.arguments, features=imported.spec.to_dict(), trim_db=imported.trim_db,
        data={"imported_from": path.name, **imported.data},
    )  # fmt: skip
    safe = out.suffix == ".safetensors"
    save(imported.model, description, out, half=imported.half and safe if half is None else half)
    print(f"wrote {out}; {imported.use.format(out=out)}")
    return out


def main() -> None:
    """Entry point of `revoice-import-checkpoint`."""
    run("import_checkpoint", task, PATH_KEYS | {"config", "statistics"})
