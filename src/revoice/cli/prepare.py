"""`python prepare.py data=... features=... fields=[features,f0,embedding]`."""

from pathlib import Path
from typing import Any

from revoice.cli.app import run


def task(values: dict[str, Any], folder: Path) -> None:
    """Prepare one corpus and say what came of it."""
    from revoice.audio.spec import FeatureSpec
    from revoice.data.config import build

    spec = FeatureSpec.from_dict(values["features"])
    prepared = build(values["data"]).prepare(spec, list(values["fields"]), values["paths"]["prepared_dir"])
    splits = {name: len(prepared.manifest.select(name)) for name in ("train", "val", "test_seen", "test_unseen")}
    hours = sum(row.seconds for row in prepared.manifest) / 3600
    print(f"{len(prepared.manifest)} utterances of {len(prepared.manifest.speakers)} speakers, {hours:.2f} h: {splits}")
    for rejected in prepared.rejected[:10]:
        print(" ".join(f"rejected {rejected.path}: {rejected.reason}".split()))
    if prepared.rejected:
        lists = next(iter(prepared.folders.values())).parent / "*" / "rejected.jsonl"
        print(f"{len(prepared.rejected)} of {len(prepared.rejected) + len(prepared.manifest)} rejected: {lists}")
    for label, where in prepared.folders.items():
        print(f"{label}: {where}")


def main() -> None:
    """Entry point of `revoice-prepare`."""
    run("prepare", task)
