"""The shards of one selection of a corpus: which there are, which are missing, how they are written and merged."""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import soundfile

from revoice.audio.ffmpeg import BY_FFMPEG, available
from revoice.data.corpora.manifest import Manifest, Row
from revoice.data.fields.base import Field
from revoice.data.files import content_hashes, write_json, write_lines
from revoice.data.prepare.compute import Chunk, Outcome, compute_chunk, rescue_chunk
from revoice.data.prepare.progress import Progress
from revoice.data.prepare.shards import (
    ShardWriter,
    file_sizes,
    is_whole,
    lines_path,
    read_index,
    remove_damaged,
    shard_lines,
    shard_path,
)
from revoice.data.prepare.workers import ordered_map, usable_cpus
from revoice.errors import UserError
from revoice.version import __version__

log = logging.getLogger(__name__)

CHUNK = 16  # utterances a worker takes at a time
CHUNK_BYTES = 32 << 20  # ... unless their files are larger than this
WORTH_A_WORKER = 250  # utterances that repay starting one more process
SECONDS_WORTH_A_WORKER = 600.0  # of recordings that do so, too, however few they are
_LOOKED_AT = 16  # files whose lengths stand for those of all


@dataclass(frozen=True)
class Selection:
    """The chosen files of a corpus, and the shards that are made of them in `folder`.

    Attributes:
        manifest: with the files' hashes.
        folder: named after what is in the files, and how it is cut and sharded.
        trim_db: see `prepare`.
        shard_utterances: utterances per shard.
    """

    manifest: Manifest
    folder: Path
    trim_db: float | None
    shard_utterances: int

    @classmethod
    def of(cls, manifest: Manifest, base: Path, trim_db: float | None, shard_utterances: int) -> "Selection":
        """The selection that a manifest makes, its files hashed."""
        trim_db = None if trim_db is None else float(trim_db)
        root = hashlib.sha256(str(manifest.root).encode()).hexdigest()[:8]
        hashes = content_hashes(manifest, base / f"hashes-{root}.jsonl")
        manifest = manifest.with_rows(replace(row, sha256=hashes[row.id]) for row in manifest)
        return cls(manifest, base / _name(manifest, trim_db, shard_utterances), trim_db, shard_utterances)

    @cached_property
    def shards(self) -> list[tuple[Row, ...]]:
        """The rows of each shard, shuffled: sorted ids would put one speaker's utterances side by side."""
        rows = sorted(self.manifest, key=lambda row: shuffled(row.id))
        size = self.shard_utterances
        return [tuple(rows[first : first + size]) for first in range(0, len(rows), size)]

    def missing(self, fields: Sequence[Field]) -> list[Field]:
        """The fields that are not whole."""
        return [f for f in fields if not self.is_prepared(f)]

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

    def compute(self, fields: Sequence[Field], shards: Sequence[int], workers: int | None, show: bool) -> None:
        """Write those of the `shards` that are missing."""
        chunks = list(self.chunks(fields, shards))
        total = sum(len(chunk.utterances) for chunk in chunks)
        if not total:
            return
        if workers is None:
            worth = max(total / WORTH_A_WORKER, _seconds(chunks) / SECONDS_WORTH_A_WORKER)
            workers = min(usable_cpus(), int(worth))
            workers = workers if workers > 1 else 0
        labels = ", ".join(f.label for f in fields)
        log.info("preparing %s of %d utterances into %s (%d workers)", labels, total, self.folder, workers)
        began = time.perf_counter()
        with Progress(f"preparing {labels}", total, show) as bar:
            with closing(ordered_map(compute_chunk, chunks, workers, rescue_chunk)) as results:
                self._write(chunks, results, bar)
        wall = max(time.perf_counter() - began, 1e-9)
        log.info("prepared %.1f min in %.1f s: %.0f x real time", bar.seconds / 60, wall, bar.seconds / wall)

    def chunks(self, fields: Sequence[Field], shards: Sequence[int]) -> Iterator[Chunk]:
        """The work still to be done, in order."""
        for index in shards:
            rows = self.shards[index]
            ids = [row.id for row in rows]
            lacking = tuple(f for f in fields if not is_whole(shard_path(self.folder / f.folder, index), ids))
            problems = {row.id: row.problem for row in rows if row.problem}
            said = {row.id: row.phones for row in rows if row.phones is not None}
            utterances = [(row.id, row.path, self.manifest.file(row)) for row in rows] if lacking else []
            while utterances:
                size = _chunk_size([file for _, _, file in utterances[:CHUNK]])
                now, utterances = utterances[:size], utterances[size:]
                phones = {id: said[id] for id, _, _ in now if id in said}
                yield Chunk(index, not utterances, tuple(now), lacking, self.trim_db, problems, phones)

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
        if [line["id"] for shard in lines for line in shard] != [row.id for rows in self.shards for row in rows]:
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


def shuffled(id: str) -> bytes:
    """What utterances are sorted by: an order that has nothing to do with their names, the same everywhere."""
    return hashlib.sha256(id.encode()).digest()


def _name(manifest: Manifest, trim_db: float | None, shard_utterances: int) -> str:
    """12 hex digits over what is in the chosen files and how it is cut and sharded.

    And over whether some cannot be read for want of PyAV: their rejection must not outlast its installation.
    """
    lines = [
        f"trim {trim_db}",
        f"shuffled shards of {shard_utterances}",
        *(f"{row.id} {row.sha256}" for row in manifest),
    ]
    if any(Path(row.path).suffix.lower() in BY_FFMPEG for row in manifest) and not available():
        lines.append("without PyAV")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _seconds(chunks: Sequence[Chunk]) -> float:
    """About how long all recordings are, by the headers of some."""
    files = [file for chunk in chunks for id, _, file in chunk.utterances if id not in chunk.problems]
    some = files[:: -(-len(files) // _LOOKED_AT)] if files else []
    found = 0.0
    for file in some:
        with suppress(OSError, RuntimeError):  # whatever is wrong with it, or not libsndfile's, is for the worker
            found += soundfile.info(str(file)).duration if file.stat().st_size else 0.0
    return found / max(len(some), 1) * len(files)


def _chunk_size(files: Sequence[Path]) -> int:
    """How many of the files fit into `CHUNK_BYTES`; at least one."""
    total = 0
    for count, file in enumerate(files):
        with suppress(OSError, ValueError):  # whatever is wrong with it is for the worker to tell
            total += file.stat().st_size
        if total > CHUNK_BYTES and count:
            return count
    return len(files)
