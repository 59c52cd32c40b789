"""Prepare a corpus: every field of every utterance into shards, once; the second call returns at once."""

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from revoice.audio.spec import FeatureSpec
from revoice.data.compute import Chunk, Outcome, compute_chunk, rescue_chunk
from revoice.data.corpora.base import Corpus
from revoice.data.fields.base import Field, build_field
from revoice.data.files import content_hashes, locked, read_lines, remove_parts, write_json, write_lines
from revoice.data.manifest import Manifest, Row
from revoice.data.progress import Progress
from revoice.data.shards import (
    ShardWriter,
    file_sizes,
    is_whole,
    lines_path,
    read_index,
    remove_damaged,
    shard_lines,
    shard_path,
)
from revoice.data.splits import Splits
from revoice.data.workers import ordered_map, usable_cpus
from revoice.errors import UserError
from revoice.version import __version__

log = logging.getLogger(__name__)

CHUNK = 16  # utterances a worker takes at a time
CHUNK_BYTES = 32 << 20  # ... unless their files are larger than this
WORTH_A_WORKER = 250  # utterances that repay starting one more process


@dataclass(frozen=True)
class Rejected:
    """An utterance that could not be prepared."""

    id: str
    path: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    """A corpus ready to be read.

    Attributes:
        manifest: the utterances that have every field, with splits, seconds and content hashes.
        spec: the features all fields are aligned with.
        folders: folder of each field by label.
        rejected: the utterances left out, with the first reason.
    """

    manifest: Manifest
    spec: FeatureSpec
    folders: dict[str, Path]
    rejected: tuple[Rejected, ...]

    @property
    def manifest_file(self) -> Path:
        """Where the manifest is recorded."""
        return next(iter(self.folders.values())).parent / f"manifest-{self.manifest.digest()}.jsonl"


def prepare(
    corpus: Corpus,
    spec: FeatureSpec,
    fields: Sequence[str | Field],
    out_dir: Path,
    *,
    splits: Splits | None = None,
    trim_db: float | None = None,
    workers: int | None = None,
    shard_utterances: int = 512,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    progress: bool = True,
) -> Prepared:
    """Compute and store what is missing; safe to call from several processes at once.

    The shards lie in `out_dir/CORPUS/SELECTION/FIELD-KEY/`, SELECTION being a hash over the contents of the chosen
    files and the trimming, KEY one over the field's parameters. An interrupted call is taken up at its last whole
    shard; the result has the same bytes however often it was interrupted and whatever the number of workers.

    Args:
        corpus: what to read.
        spec: feature spec of `features`, and the frames that other fields are aligned with.
        fields: labels ("features", "f0", ...) or field objects.
        out_dir: folder of all prepared data.
        splits: how to split; None takes the defaults.
        trim_db: silence at both ends of a file that is this many dB below its loudest part is cut; None keeps it.
        workers: processes; 0 works in this one, None decides by cores and size.
        shard_utterances: utterances per shard.
        settings: settings by kind of field.
        progress: show a bar.

    Raises:
        UserError: nothing found at the root, unknown field, or no utterance could be prepared.
    """
    trim_db = None if trim_db is None else float(trim_db)
    wanted = [f if isinstance(f, Field) else build_field(f, spec, settings) for f in fields]
    manifest = (splits or Splits()).assign(corpus.manifest())
    base = Path(out_dir).expanduser().absolute() / manifest.corpus
    with locked(base):
        remove_parts(base)
        root = hashlib.sha256(str(manifest.root).encode()).hexdigest()[:8]
        hashes = content_hashes(manifest, base / f"hashes-{root}.jsonl")
        manifest = manifest.with_rows(replace(row, sha256=hashes[row.id]) for row in manifest)
        job = _Job(manifest, base / _selection(manifest, trim_db, shard_utterances), trim_db, shard_utterances)
        remove_parts(job.folder)
        missing = [f for f in wanted if not job.is_prepared(f)]
        if missing:
            try:
                job.run(missing, workers, progress)
            except OSError as error:
                raise UserError(
                    f"preparing into {job.folder} failed: {error.strerror or error}; whole shards are kept: "
                    "mend that and start again"
                ) from error
        result = _collect(manifest, spec, {f.label: job.folder / f.folder for f in wanted})
        record = result.manifest_file
        if not record.exists():
            result.manifest.save(record)
    return result


@dataclass(frozen=True)
class _Job:
    """One corpus selection to be put into `folder`."""

    manifest: Manifest
    folder: Path
    trim_db: float | None
    shard_utterances: int

    @property
    def shards(self) -> list[tuple[Row, ...]]:
        rows, size = self.manifest.rows, self.shard_utterances
        return [rows[first : first + size] for first in range(0, len(rows), size)]

    def is_prepared(self, f: Field) -> bool:
        """Whether all of a field is there; a file that lost bytes since it was written is removed."""
        folder = self.folder / f.folder
        index = read_index(folder)
        if index is None:
            return False
        lost = remove_damaged(folder, index)
        if lost:
            log.warning("%s: damaged, so they are made again: %s", folder, ", ".join(lost))
        return not lost

    def run(self, fields: Sequence[Field], workers: int | None, show: bool) -> None:
        """Write the shards that are missing, then each field's index."""
        for f in fields:
            remove_parts(self.folder / f.folder)
        chunks = list(self.chunks(fields))
        total = sum(len(chunk.utterances) for chunk in chunks)
        if workers is None:
            workers = min(usable_cpus(), total // WORTH_A_WORKER)
            workers = workers if workers > 1 else 0
        labels = ", ".join(f.label for f in fields)
        log.info("preparing %s of %d utterances into %s (%d workers)", labels, total, self.folder, workers)
        began = time.perf_counter()
        with Progress(f"preparing {labels}", total, show) as bar:
            with closing(ordered_map(compute_chunk, chunks, workers, rescue_chunk)) as results:
                self._write(chunks, results, bar)
        for f in fields:
            self.finish(f)
        wall = max(time.perf_counter() - began, 1e-9)
        log.info("prepared %.1f min in %.1f s: %.0f x real time", bar.seconds / 60, wall, bar.seconds / wall)

    def chunks(self, fields: Sequence[Field]) -> Iterator[Chunk]:
        """The work still to be done, in order."""
        for index, rows in enumerate(self.shards):
            ids = [row.id for row in rows]
            lacking = tuple(f for f in fields if not is_whole(shard_path(self.folder / f.folder, index), ids))
            problems = {row.id: row.problem for row in rows if row.problem}
            utterances = [(row.id, row.path, self.manifest.file(row)) for row in rows] if lacking else []
            while utterances:
                size = _chunk_size([file for _, _, file in utterances[:CHUNK]])
                now, utterances = utterances[:size], utterances[size:]
                yield Chunk(index, not utterances, tuple(now), lacking, self.trim_db, problems)

    def _write(self, chunks: Sequence[Chunk], results: Iterator[list[Outcome]], bar: Progress) -> None:
        writers: dict[str, ShardWriter] = {}
        try:
            for chunk, outcomes in zip(chunks, results, strict=True):
                for f in chunk.fields:
                    writer = writers.get(f.label) or ShardWriter(self.folder / f.folder, chunk.shard, f.label)
                    writers[f.label] = writer
                    for outcome in outcomes:
                        if f.label in outcome.arrays:
                            writer.add(outcome.id, outcome.arrays[f.label], outcome.seconds, outcome.start)
                        else:
                            writer.reject(outcome.id, outcome.path, outcome.reasons[f.label])
                    if chunk.last:
                        writer.close()
                        del writers[f.label]
                bar.advance(len(outcomes), sum(outcome.seconds for outcome in outcomes))
        finally:
            for writer in writers.values():
                writer.abandon()

    def finish(self, f: Field) -> None:
        """Merge the shards' lines, check the counts, and write the index that marks the field as whole."""
        folder = self.folder / f.folder
        lines = [shard_lines(folder, index) for index in range(len(self.shards))]
        stored = [line for shard in lines for line in shard if "reason" not in line]
        rejected = [line for shard in lines for line in shard if "reason" in line]
        if [line["id"] for shard in lines for line in shard] != [row.id for row in self.manifest]:
            raise UserError(
                f"{folder}: {len(self.manifest)} utterances in, but {len(stored)} stored + {len(rejected)} rejected "
                "do not match them one to one; delete that folder and prepare again"
            )
        write_lines(folder / "utterances.jsonl", stored)
        write_lines(folder / "rejected.jsonl", rejected)
        shards = [shard_path(folder, index).name for index in range(len(self.shards))]
        files = [*shards, *(lines_path(Path(name)).name for name in shards), "utterances.jsonl", "rejected.jsonl"]
        index = {
            **f.describe(),
            "corpus": self.manifest.corpus,
            "trim_db": self.trim_db,
            "utterances": len(self.manifest),
            "stored": len(stored),
            "rejected": len(rejected),
            "shards": shards,
            "bytes": file_sizes(folder, files),
            "version": __version__,
        }
        if stored:
            write_json(folder / "index.json", index)
        else:  # more likely the machine's fault than that of every file: try again next time
            for name in shards:
                (folder / name).unlink()
        if rejected:
            log.warning(
                "%d of %d utterances rejected: %s", len(rejected), len(self.manifest), folder / "rejected.jsonl"
            )


def _collect(manifest: Manifest, spec: FeatureSpec, folders: dict[str, Path]) -> Prepared:
    """What all fields have in common."""
    rejected: dict[str, Rejected] = {}
    seconds: dict[str, float] = {}
    for folder in folders.values():
        for line in read_lines(folder / "rejected.jsonl"):
            rejected.setdefault(line["id"], Rejected(line["id"], line["path"], line["reason"]))
        seconds.update((line["id"], line["seconds"]) for line in read_lines(folder / "utterances.jsonl"))
    rows = [replace(row, seconds=seconds[row.id]) for row in manifest if row.id not in rejected]
    if not rows:
        first = "; ".join(f"{r.path}: {r.reason}" for r in list(rejected.values())[:3])
        raise UserError(f"none of the {len(manifest)} utterances in {manifest.root} can be used: {first}")
    return Prepared(manifest.with_rows(rows), spec, folders, tuple(rejected[id] for id in sorted(rejected)))


def _selection(manifest: Manifest, trim_db: float | None, shard_utterances: int) -> str:
    """12 hex digits over what is in the chosen files and how it is cut and sharded."""
    lines = [f"trim {trim_db}", f"shards of {shard_utterances}", *(f"{row.id} {row.sha256}" for row in manifest)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _chunk_size(files: Sequence[Path]) -> int:
    """How many of the files fit into `CHUNK_BYTES`; at least one."""
    total = 0
    for count, file in enumerate(files):
        total += file.stat().st_size if file.is_file() else 0
        if total > CHUNK_BYTES and count:
            return count
    return len(files)
