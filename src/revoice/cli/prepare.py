"""`python prepare.py data=... features=... fields=[features,f0,embedding]`."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from revoice.audio.spec import FeatureSpec
from revoice.cli import sweep
from revoice.cli.app import run
from revoice.data.config import Paths
from revoice.errors import UserError, choices, one_line, printable
from revoice.settings import Count, Given, Natural, Word, from_config, one_or_more, settings


@settings
class Part:
    """This machine's share of a preparation (`prepare`): number `shard` of `shards`; null: all of it."""

    shard: Natural | None = None
    shards: Count | None = None

    def __post_init__(self) -> None:
        if self.shard is not None and (self.shards is None or self.shard >= self.shards):
            raise UserError(
                f"prepare.shard={self.shard} of prepare.shards={self.shards}: expected numbers, e.g. 0 of 8"
            )


def _known(label: str) -> str:
    from revoice.data.fields.base import FIELDS  # here: a launcher sends this module to its workers with all it holds

    kind = label.partition(":")[0]
    if kind not in FIELDS.names():
        raise choices(kind, FIELDS.names(), "field (fields)")
    return label


@settings
class PrepareConfig:
    """What `configs/prepare.yaml` documents."""

    features: FeatureSpec
    data: Given
    fields: Annotated[tuple[Annotated[Word, AfterValidator(_known)], ...], BeforeValidator(one_or_more)]
    paths: Paths
    prepare: Part


def task(values: dict[str, Any], folder: Path) -> None:
    """Prepare one corpus, or a share of it; a share of a sweep that fails lets the others go on."""
    if sweep.sweeping():
        folder.mkdir(parents=True, exist_ok=True)
        sweep.guarded(lambda: _prepare(values), folder)
    else:
        _prepare(values)


def check(values: dict[str, Any]) -> "PrepareConfig":
    """Refuse what cannot be prepared, in one line, before a corpus is touched."""
    import revoice.conversion.generated
    import revoice.conversion.posteriors  # noqa: F401  a field
    from revoice.data.config import build

    config = from_config(PrepareConfig, values)
    build(values["data"])
    return config


def _prepare(values: dict[str, Any]) -> None:
    from revoice.atomic import require_writable
    from revoice.data.config import build
    from revoice.data.read.stream.writer import write_stream

    config, setup = check(values), build(values["data"])
    if not setup.at_hand:
        raise UserError("data.streaming.address names what is prepared already: leave it out to prepare a corpus")
    spec, fields, out = config.features, config.fields, config.paths.prepared_dir
    require_writable(out, folder=True)
    shard, shards = config.prepare.shard, config.prepare.shards
    if shard is not None and shards is not None:
        if left := setup.prepare_share(spec, fields, out, (shard, shards)):
            print(f"share {shard} of {shards} is done; other shares have {left} shards to write", flush=True)
            return
    prepared = setup.prepare(spec, fields, out)
    manifest = prepared.manifest
    parts = list(prepared.parts.values())
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
