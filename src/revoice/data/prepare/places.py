"""Where each utterance lies in the shards of a field: looked up at the first use, and remembered beside them."""

import json
import logging
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from revoice.data.files import dispensable, locked, read_lines, write_lines
from revoice.data.prepare.shards import crcs_of, damage_told, lines_path, read_members
from revoice.errors import UserError

log = logging.getLogger(__name__)

PLACES = "places.jsonl"


@dataclass(frozen=True)
class Contents:
    """The utterances of a field, as `utterances.jsonl` says.

    Attributes:
        folder: the field's.
        index: what `index.json` says.
        ids: (N,) of the utterances, in the order of the shards.
        lengths: (N,) rows of each; 1 where each has one array.
    """

    folder: Path
    index: Mapping[str, Any]
    ids: Sequence[str]
    lengths: Sequence[int]


@dataclass(frozen=True)
class Places:
    """Where the utterances of one shard lie.

    Attributes:
        shard: its name.
        size, changed: its bytes and the time of its last change in ns: what replaces it has others.
        number: which utterance of the field its first one is.
        row: shape of a row.
        first: byte of the shard at which the rows of each of its utterances begin.
    """

    shard: str
    size: int
    changed: int
    number: int
    row: list[int]
    first: list[int]

    def crc(self, contents: Contents) -> int:
        """CRC-32 of all this and of what `utterances.jsonl` says of these utterances."""
        own = slice(self.number, self.number + len(self.first))
        return zlib.crc32(json.dumps([*vars(self).values(), contents.ids[own], contents.lengths[own]]).encode())

    def inside(self, contents: Contents) -> bool:
        """Whether all rows lie within the shard."""
        lengths = contents.lengths[self.number : self.number + len(self.first)]
        begin, kind = np.array(self.first, dtype=np.int64), np.dtype(contents.index["dtype"])
        end = begin + np.array(lengths, dtype=np.int64) * math.prod(self.row) * kind.itemsize
        return len(begin) == len(lengths) and bool(((0 <= begin) & (begin <= end) & (end <= self.size)).all())


def find_places(contents: Contents) -> list[Places]:
    """The places of all utterances of a field, shard after shard.

    A shard that is not the one that was looked through at an earlier start is read once, and held against its
    CRC-32s and the index. One process does so for all; where the folder cannot be written to, each does it at every
    start.

    Raises:
        UserError: a shard is damaged, or the shards are not what `utterances.jsonl` says.
    """
    known = _remembered(contents)
    if known.keys() >= set(contents.index["shards"]):
        return list(_look(contents, known))
    with ExitStack() as held:
        with suppress(UserError):  # somebody else's folder
            held.enter_context(locked(contents.folder))
        known = _remembered(contents)
        if not known and (contents.folder / PLACES).exists():
            log.warning("%s is damaged or of other shards, so it is made again", contents.folder / PLACES)
        found = list(_look(contents, known))
        if any(known.get(places.shard) is not places for places in found):
            with dispensable():
                lines = ({**vars(places), "crc32": places.crc(contents)} for places in found)
                write_lines(contents.folder / PLACES, lines)
    return found


def _remembered(contents: Contents) -> dict[str, Places]:
    """Of those shards that are still the same; nothing of a damaged file."""
    found, number = dict[str, Places](), 0
    try:
        for line in read_lines(contents.folder / PLACES):
            crc = line.pop("crc32")
            places = Places(**line)
            if crc != places.crc(contents) or places.number != number or not places.inside(contents):
                return {}
            number += len(places.first)
            with suppress(OSError):  # it is gone
                if _stamp(contents.folder / places.shard) == (places.size, places.changed):
                    found[places.shard] = places
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return {}
    return found if number == len(contents.ids) else {}


def _look(contents: Contents, known: Mapping[str, Places]) -> Iterator[Places]:
    """The places in all shards, of which those that are not known are read."""
    shards, number, row = contents.index["shards"], 0, None
    if unknown := len(set(shards) - known.keys()):
        log.info("looking through %d of %d shards of %s, once", unknown, len(shards), contents.folder)
    for name in shards:
        places = known.get(name)
        if places is None or places.number != number:
            places = _look_through(contents, name, number)
        with damage_told(contents.folder / name):
            row = places.row if row is None and places.first else row
            if places.first and places.row != row:
                raise ValueError(f"it has rows of {places.row}, others of {row}")
        number += len(places.first)
        yield places
    with damage_told(contents.folder / "utterances.jsonl"):
        if number != len(contents.ids):
            raise ValueError(f"{len(contents.ids)} lines for {number} utterances")


def _look_through(contents: Contents, name: str, number: int) -> Places:
    """Read one shard, which begins with utterance `number` of the field."""
    shard, first = contents.folder / name, list[int]()
    kind, row = np.dtype(contents.index["dtype"]), None
    with damage_told(shard):
        size, changed = _stamp(shard)
        for id, array, begin in read_members(shard, crcs_of(read_lines(lines_path(shard)))):
            values = array if contents.index["per_frame"] is not None else array[None]
            at = number + len(first)
            if id != contents.ids[at] or len(values) != contents.lengths[at]:
                raise ValueError(f"{id} is not what utterances.jsonl says")
            row = values.shape[1:] if row is None else row
            if (values.dtype, values.shape[1:]) != (kind, row):
                raise ValueError(f"{id} has rows of {values.shape[1:]} {values.dtype}, expected {row} {kind}")
            if begin % kind.itemsize:
                raise ValueError(f"{id} begins at byte {begin}, expected a multiple of {kind.itemsize}")
            first.append(begin)
    return Places(name, size, changed, number, list(row or ()), first)


def _stamp(shard: Path) -> tuple[int, int]:
    """What a file is recognized by: its bytes and the time of its last change in ns."""
    found = shard.stat()
    return found.st_size, found.st_mtime_ns
