"""A prepared corpus as a stream: the shards where they are, and an index that says all a reader needs besides them."""

import logging
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from revoice.audio.spec import FeatureSpec
from revoice.data.corpora.manifest import Row
from revoice.data.files import parsed_lines, plain_label
from revoice.data.prepare.shards import crcs_of, lines_path, read_shard, shard_path
from revoice.data.read.columns import ArrayColumn, Columns
from revoice.data.read.facts import Facts
from revoice.data.read.mapped import Statistics, require_statistics
from revoice.data.read.stream.checks import entry, require_array, require_index, row_shape, validation_row
from revoice.data.read.stream.remote import fetch, joined, located
from revoice.data.read.tables import Tables
from revoice.errors import UserError, one_line
from revoice.foreign import parse_json

log = logging.getLogger(__name__)

FORMAT = 2
DAMAGE = (OSError, ValueError, LookupError, TypeError, EOFError, tarfile.TarError)  # what reading half a file may raise
VALIDATION = 1024  # utterances of the validation split that the index carries with it


class Unreadable(UserError):
    """None of the shards asked for can be read."""


@dataclass(frozen=True)
class Stream:
    """What the index of a stream says.

    Attributes:
        address: folder of the index, an absolute path without links or anything fsspec opens.
        spec: features.
        fields: for each label the folder of its shards (relative to `address`) and how its arrays are read.
        shards: (file name, training utterances in it) of each.
        tables: the names of speakers and emotions of the training rows.
        everyone: names of all speakers, those that are not trained on too.
        levels: mean log-f0 of each speaker, empty without the field f0.
        deviations: its deviation, likewise; empty in an index that an earlier version wrote.
        statistics: of the training features.
        facts: counts, for people and for the checkpoint.
        trim_db: silence that was cut at both ends.
        names: new names of some speakers.
    """

    address: str
    spec: FeatureSpec
    fields: Mapping[str, Mapping[str, Any]]
    shards: tuple[tuple[str, int], ...]
    tables: Tables
    everyone: tuple[str, ...]
    levels: tuple[float | None, ...]
    statistics: Statistics
    facts: Facts
    trim_db: float | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    deviations: tuple[float | None, ...] = ()

    def renamed(self, names: Mapping[str, str]) -> "Stream":
        """The same stream whose speakers have other names."""
        speakers = tuple(names.get(name, name) for name in self.tables.speakers)
        return replace(self, tables=replace(self.tables, speakers=speakers), names=names)

    @classmethod
    def open(cls, address: str | Path) -> "Stream":
        """Read the index.

        Args:
            address: its folder; a path may begin with `~` and lead through links.

        Raises:
            UserError: nothing there, or something else.
        """
        address = located(str(address))
        try:
            values = parse_json(fetch(f"{address}/index.json", tries=()))
            if values["format"] != FORMAT:
                raise UserError(f"{address}: stream format {values['format']}, this version reads {FORMAT}")
            index = require_index(values)
            spec = FeatureSpec.from_dict(values["spec"])
            numbers = {name: torch.tensor(values["statistics"][name]) for name in ("mean", "std")}
            statistics = require_statistics(Statistics(**numbers), spec.channels)
            stream = cls(
                address=address,
                spec=spec,
                fields={label: vars(about) for label, about in index.fields.items()},
                shards=tuple((name, count) for name, count in index.shards if count),
                tables=Tables(index.speakers, index.emotions),
                everyone=index.everyone,
                levels=index.levels,
                deviations=index.deviations,
                statistics=statistics,
                facts=index.facts,
                trim_db=index.trim_db,
            )
        except UserError as error:
            raise UserError(f"{address}: {str(error).removeprefix(f'{address}: ')}") from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise UserError(
                f"{address}: no index of a stream there ({one_line(error)}); expected the folder stream-... that "
                "prepare.py data.stream=true names"
            ) from error
        if not stream.shards:
            raise UserError(f"{address}: a stream without training utterances: lower data.splits.*, prepare again")
        return stream

    def read(self, shards: Sequence[int], labels: Sequence[str], stand_in: bool = False) -> Columns:
        """The training utterances of some shards; a shard that cannot be read is left out with a warning.

        Args:
            shards: their places in `shards`.
            labels: the fields.
            stand_in: they are read in place of others: each is asked for once, and without a warning, which comes
                when it is its own turn.

        Raises:
            Unreadable: none of them can be read.
        """
        rows: list[Row] = []
        arrays: dict[str, list[np.ndarray]] = {label: [] for label in labels}
        shapes: dict[str, tuple[int, ...]] = {}
        why = ""
        for index in shards:
            try:
                found, columns = self._shard(index, labels, () if stand_in else None)
                self._require_alike(found, columns, shapes)
            except UserError:
                raise
            except DAMAGE as error:
                why = f"{self.shards[index][0]} of {self.address} cannot be read ({one_line(error)})"
                if not stand_in:
                    log.warning("%s: left out; delete it, then prepare or copy it again", why)
                continue
            rows += found
            for label in labels:
                arrays[label] += columns[label]
        if not rows:
            raise Unreadable(f"nothing left to train on: {why}; delete it, then prepare or copy it again")
        return Columns(rows, {label: _column(arrays[label], self.fields[label]) for label in labels})

    def validation(self, labels: Sequence[str]) -> Columns:
        """The utterances of the split `val` with these fields, read into memory once."""
        try:
            return self._validation(labels)
        except UserError:
            raise
        except DAMAGE as error:
            raise UserError(
                f"{self.address}: its validation utterances cannot be read ({one_line(error, 160)}); "
                "delete that folder and write it again with python prepare.py data.stream=true"
            ) from error

    def _validation(self, labels: Sequence[str]) -> Columns:
        lines = parsed_lines(fetch(f"{self.address}/validation.jsonl").decode("utf-8"))
        rows = [validation_row(line, self.names) for line in lines]
        columns: dict[str, ArrayColumn] = {}
        for label in labels if rows else ():
            shard = shard_path(Path(f"validation-{plain_label(label)}"), 0).as_posix()
            lines = parsed_lines(fetch(f"{self.address}/{lines_path(Path(shard)).as_posix()}").decode("utf-8"))
            with _named(shard):
                arrays = dict(read_shard(fetch(f"{self.address}/{shard}"), crcs_of(lines)))
            chosen = [arrays[row.id] for row in rows]
            self._require_alike(rows, {label: chosen}, {})
            columns[label] = _column(chosen, self.fields[label])
        return Columns(rows, columns)

    def _require_alike(
        self, rows: Sequence[Row], columns: Mapping[str, Sequence[np.ndarray]], shapes: dict[str, tuple[int, ...]]
    ) -> None:
        """Hold arrays against the index, and against the `shapes` of those before, which the first ones tell."""
        for label, arrays in columns.items():
            about = self.fields[label]
            for row, array in zip(rows, arrays, strict=True):
                shape = shapes.setdefault(label, row_shape(label, array, about, self.spec.channels))
                require_array(row.id, array, about, shape)

    def _shard(
        self, index: int, labels: Sequence[str], tries: Sequence[float] | None
    ) -> tuple[list[Row], dict[str, list[np.ndarray]]]:
        name, count = self.shards[index]
        rows = []
        crcs: dict[str, dict[str, int | None]] = {label: {} for label in self.fields}
        lines = parsed_lines(fetch(f"{self.address}/{Path(name).stem}.jsonl", tries).decode("utf-8"))
        if len(lines) != count:
            raise ValueError(f"it lists {len(lines)} utterances, the index {count}")
        for id, speaker, gender, emotion, *recorded in lines:
            tables = self.tables  # -1 is none
            gender, emotion = (
                None if at == -1 else entry(table, at)
                for table, at in ((tables.genders, gender), (tables.emotions, emotion))
            )
            speaker = entry(tables.speakers, speaker)
            rows.append(Row(id=id, path="", speaker=speaker, gender=gender, emotion=emotion, split="train"))
            for label, crc in zip(self.fields, recorded, strict=False):  # earlier versions recorded none
                crcs[label][id] = crc
        columns = {}
        for label in labels:
            place = joined(self.address, f"{self.fields[label]['folder']}/{name}")
            with _named(place):
                found = dict(read_shard(fetch(place, tries), crcs[label]))
            columns[label] = [found[row.id] for row in rows]
        return rows, columns

    @cached_property
    def counts(self) -> np.ndarray:
        """(shards,) int64, training utterances in each."""
        return np.array([count for _, count in self.shards], dtype=np.int64)

    def check(self, labels: Sequence[str]) -> None:
        """A `UserError` if a field is not in the stream."""
        for label in labels:
            if label not in self.fields:
                raise UserError(
                    f"{self.address} has no field '{label}', it has {', '.join(self.fields)}: prepare it with "
                    f"python prepare.py data.stream=true fields=[{','.join([*self.fields, label])}]"
                )


def _column(arrays: Sequence[np.ndarray], about: Mapping[str, Any]) -> ArrayColumn:
    if about["per_frame"] is None:
        arrays = [array[None] for array in arrays]
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    return ArrayColumn(about, lengths, torch.from_numpy(np.concatenate(arrays)))


@contextmanager
def _named(shard: str) -> Iterator[None]:
    """Of several fields, name the one whose shard is damaged."""
    try:
        yield
    except (ValueError, EOFError, tarfile.TarError) as error:
        if isinstance(error, UserError):
            raise
        raise OSError(f"{'/'.join(shard.split('/')[-2:])}: {error}") from error
