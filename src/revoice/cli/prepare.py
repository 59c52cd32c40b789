"""`python prepare.py data=... features=... fields=[features,f0,embedding]`."""

from pathlib import Path
from typing import Any

from revoice.cli import sweep
from revoice.cli.app import run
from revoice.errors import UserError, one_line, printable


def task(values: dict[str, Any], folder: Path) -> None:
    """Prepare one corpus, or a share of it; a share of a sweep that fails lets the others go on."""
    if sweep.sweeping():
        folder.mkdir(parents=True, exist_ok=True)
        sweep.guarded(lambda: _prepare(values), folder)
    else:
        _prepare(values)


def _prepare(values: dict[str, Any]) -> None:
    import revoice.conversion.posteriors  # noqa: F401  a field
    from revoice.audio.spec import FeatureSpec
    from revoice.data.config import build
    from revoice.data.read.mixture import Mixed
    from revoice.data.read.stream.writer import write_stream

    spec, setup = FeatureSpec.from_dict(values["features"]), build(values["data"])
    if not setup.at_hand:
        raise UserError("data.streaming.address names what is prepared already: leave it out to prepare a corpus")
    fields, out = list(values["fields"]), values["paths"]["prepared_dir"]
    shard, shards = values["prepare"]["shard"], values["prepare"]["shards"]
    if shard is not None:
        if not isinstance(shard, int) or not isinstance(shards, int):
            raise UserError(f"prepare.shard={shard} of prepare.shards={shards}: expected numbers, e.g. 0 of 8")
        if left := setup.prepare_share(spec, fields, out, (shard, shards)):
            print(f"share {shard} of {shards} is done; other shares have {left} shards to write", flush=True)
            return
    prepared = setup.prepare(spec, fields, out)
    manifest = prepared.manifest
    parts = list(prepared.parts.values()) if isinstance(prepared, Mixed) else [prepared]
    splits = {name: len(manifest.select(name)) for name in ("train", "val", "test_seen", "test_unseen")}
    hours = sum(row.seconds for row in manifest) / 3600
    print(f"{len(manifest)} utterances of {len(manifest.speakers)} speakers, {hours:.2f} h: {splits}")
    for rejected in prepared.rejected[:10]:
        print(one_line(f"rejected {rejected.path}: {rejected.reason}", limit=500))
    if prepared.rejected:
        lists = " ".join(
            str(next(iter(p.folders.values())).parent / "*" / "rejected.jsonl") for p in parts if p.rejected
        )
        print(f"{len(prepared.rejected)} of {len(prepared.rejected) + len(manifest)} rejected: {printable(lists)}")
    for part in parts:
        for label, where in part.folders.items():
            print(f"{label}: {printable(where)}")
        if setup.stream:
            print(f"stream: {printable(write_stream(part))}")


def main() -> None:
    """Entry point of `revoice-prepare`."""
    run("prepare", task)


if __name__ == "__main__":
    main()
