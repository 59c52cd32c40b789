"""Makes a stream of a prepared corpus: writes the index that a reader needs besides the shards."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from revoice.data.corpora.manifest import Row
from revoice.data.files import locked, plain_label, remove_parts, write_json, write_lines
from revoice.data.prepare.preparation import Prepared
from revoice.data.prepare.selection import shuffled
from revoice.data.prepare.shards import (
    ShardWriter,
    crcs_of,
    damage_told,
    file_sizes,
    read_checked,
    read_index,
    remove_damaged,
    require_index,
    shard_lines,
    shard_path,
)
from revoice.data.read.columns import decoded
from revoice.data.read.facts import Facts
from revoice.data.read.mapped import Sums
from revoice.data.read.stream.index import FORMAT, VALIDATION
from revoice.data.read.tables import PitchLevels, Tables
from revoice.errors import UserError

log = logging.getLogger(__name__)


def write_stream(prepared: Prepared) -> Path:
    """Write the index of a prepared corpus beside its fields, in one pass over the shards; the folder of the index.

    It holds the names of the speakers, which utterances are to be trained on, the statistics, and a copy of
    `VALIDATION` utterances. A second call returns at once, unless files are not as long as they were written.

    Raises:
        UserError: no features or no training utterances in it, a damaged shard, or the disk is full.
    """
    if "features" not in prepared.folders:
        raise UserError("data.stream=true: a stream holds the features besides: add features to fields=[...]")
    names = [str(FORMAT), prepared.manifest.digest(), *(folder.name for folder in prepared.folders.values())]
    some = prepared.folders["features"]
    folder = some.parent / f"stream-{hashlib.sha256(chr(10).join(names).encode()).hexdigest()[:12]}"
    with locked(some.parent, ".stream.lock"):
        for place in (folder, *folder.glob("validation-*")):
            remove_parts(place)
        index = read_index(folder)
        lost = [] if index is None else remove_damaged(folder, index)
        if lost:
            log.warning("%s: damaged, so it is written again: %s", folder, ", ".join(lost))
        if index is None or lost:
            try:
                _Writer(prepared, folder).write()
            except OSError as error:
                raise UserError(f"writing {folder} failed: {error.strerror or error}") from error
    return folder


class _Writer:
    """Goes once through all shards of all fields."""

    def __init__(self, prepared: Prepared, folder: Path) -> None:
        self.prepared, self.folder = prepared, folder
        manifest = prepared.manifest.select("train", "val")
        self.rows = {row.id: row for row in manifest}
        self.tables = Tables.of(manifest.select("train"))
        if not self.tables.speakers:
            raise UserError(f"no training utterances among the {len(prepared.manifest)} prepared: lower data.splits.*")
        self.held = sorted((row.id for row in manifest.select("val")), key=shuffled)[:VALIDATION]
        self.about = {label: require_index(place) for label, place in prepared.folders.items()}
        self.sums, self.levels = Sums(), PitchLevels(self.tables.speakers)

    def write(self) -> None:
        """All files; the index last, since it says that the stream is whole."""
        folder, rows = self.folder, self.rows
        folder.mkdir(parents=True, exist_ok=True)
        writers = {label: ShardWriter(folder / f"validation-{plain_label(label)}", 0, label) for label in self.about}
        counts = []
        try:
            for index, name in enumerate(self.about["features"]["shards"]):
                train, crcs = self._train(index)
                write_lines(folder / f"{Path(name).stem}.jsonl", self._lines(train, crcs))
                counts.append((name, len(train)))
                self._pass(name, {row.id for row in train}, writers)
            for writer in writers.values():
                writer.close()
        finally:
            for writer in writers.values():
                writer.abandon()
        kept = ("id", "path", "speaker", "gender", "emotion", "split")
        write_lines(folder / "validation.jsonl", ({name: getattr(rows[id], name) for name in kept} for id in self.held))
        write_json(folder / "index.json", self._index(counts))

    def _train(self, index: int) -> tuple[list[Row], list[dict[str, int | None]]]:
        """The training utterances of a shard that have every field, and the CRC-32 by id in each field."""
        crcs = []
        for place in self.prepared.folders.values():
            with damage_told(shard_path(place, index)):
                crcs.append(crcs_of(shard_lines(place, index)))
        rows = (self.rows.get(id) for id in crcs[0] if all(id in field for field in crcs))
        return [row for row in rows if row is not None and row.split == "train"], crcs

    def _lines(self, rows: Sequence[Row], crcs: Sequence[dict[str, int | None]]) -> list[tuple[Any, ...]]:
        """(id, places in the tables, CRC-32 in each field) of each."""
        places = self.tables.index(rows)
        columns = [places[name].tolist() for name in ("speaker", "gender", "emotion")]
        columns += [[field[row.id] for row in rows] for field in crcs]
        return list(zip((row.id for row in rows), *columns, strict=True))

    def _pass(self, name: str, train: set[str], writers: dict[str, ShardWriter]) -> None:
        """Statistics of one shard of each field, and copies of the validation utterances in it."""
        held = set(self.held)
        for label, place in self.prepared.folders.items():
            for id, array in read_checked(place / name):
                if label == "features" and id in train:
                    self.sums.add(decoded(torch.from_numpy(array), self.about[label]["scale"]))
                if label == "f0" and id in train:
                    self.levels.add(self.rows[id].speaker, torch.from_numpy(array))
                if id in held:
                    writers[label].add(id, array, self.rows[id].seconds, 0.0)

    def _index(self, shards: list[tuple[str, int]]) -> dict[str, Any]:
        files = [path.relative_to(self.folder).as_posix() for path in sorted(self.folder.rglob("shard-*"))]
        said = ("per_frame", "padding", "scale", "dtype", "parameters")
        folders, found = self.prepared.folders, self.sums.statistics()
        return {
            "format": FORMAT,
            "spec": self.prepared.spec.to_dict(),
            "fields": {
                label: {"folder": f"../{folders[label].name}", **{name: values[name] for name in said}}
                for label, values in self.about.items()
            },
            "trim_db": self.about["features"]["trim_db"],
            "speakers": self.tables.speakers,
            "everyone": self.prepared.manifest.speakers,
            "emotions": self.tables.emotions,
            "levels": self.levels.means() if "f0" in self.about else [],
            "deviations": self.levels.deviations() if "f0" in self.about else [],
            "statistics": {"mean": found.mean.tolist(), "std": found.std.tolist()},
            "facts": vars(replace(Facts.of(self.prepared), validation=len(self.held))),
            "shards": shards,
            "bytes": file_sizes(self.folder, [*files, "validation.jsonl"]),
        }
