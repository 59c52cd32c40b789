"""`python import_checkpoint.py kind=... path=... out=...`: published weights into a checkpoint of revoice."""

import shlex
from pathlib import Path
from typing import Any

from revoice.cli.app import required, run
from revoice.cli.quoting import PATH_KEYS
from revoice.errors import UserError, printable
from revoice.registry import accepted
from revoice.settings import Flag, Place, Word, from_config, settings

EXTRA = ("config", "statistics", "coupling", "preset")  # what some importers take besides the file
EXAMPLE = "python import_checkpoint.py kind=adain_vc path=vctk_model.ckpt out=adain_vc.safetensors"


@settings
class ImportConfig:
    """What `configs/import_checkpoint.yaml` documents."""

    kind: Word | None = None
    path: Place | None = None
    out: Place | None = None
    half: Flag | None = None
    config: Place | None = None
    statistics: Place | None = None
    coupling: Word | None = None
    preset: Word | None = None


def check(values: dict[str, Any]) -> ImportConfig:
    """Refuse what cannot be imported, in one line, before a file is read."""
    given = from_config(ImportConfig, values)
    for key in ("kind", "path", "out"):
        required(values, key, EXAMPLE)
    assert given.out is not None
    if given.out.suffix not in (".ckpt", ".safetensors"):
        raise UserError(f"out={given.out}: expected a name that ends in .ckpt or .safetensors; for example: {EXAMPLE}")
    if given.half and given.out.suffix != ".safetensors":
        raise UserError(f"half=true: a {given.out.suffix} has 32 bits: leave it out, or name a .safetensors file")
    return given


def task(values: dict[str, Any], folder: Path) -> Path:
    """Read one published model and write ours."""
    from revoice.checkpoint.description import Description
    from revoice.checkpoint.save import require_free, save
    from revoice.interop.importers import IMPORTERS

    given = check(values)
    importer = IMPORTERS.get(str(given.kind))
    path, out, half = given.path, given.out, given.half
    assert path is not None and out is not None
    extra = {key: value for key in EXTRA if (value := getattr(given, key)) is not None}
    for key, value in extra.items():
        if key not in accepted(importer.read):
            raise UserError(f"{key}={value}: kind={given.kind} takes none, leave it out")
    require_free(out, path, *(value for value in extra.values() if isinstance(value, Path)))
    imported = importer().read(path, **extra)
    description = Description(
        kind=imported.kind, model=imported.name, arguments=imported.arguments, features=imported.spec.to_dict(),
        trim_db=imported.trim_db, speakers=imported.speakers, data={"imported_from": path.name, **imported.data},
    )  # fmt: skip
    safe = out.suffix == ".safetensors"
    save(imported.model, description, out, half=imported.half and safe if half is None else half)
    use = imported.use.replace("{out}", shlex.quote(str(out)))  # names from files are in it, which may hold braces
    print(printable(f"wrote {out}; {use}"))
    return out


def main() -> None:
    """Entry point of `revoice-import-checkpoint`."""
    run("import_checkpoint", task, PATH_KEYS | {"config", "statistics"})
