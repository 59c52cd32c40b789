"""The manifest: one row per utterance, the only description of a corpus that the rest of revoice reads."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from revoice.atomic import write_text
from revoice.errors import UserError
from revoice.foreign import parse_json

SPLITS = ("train", "val", "test_seen", "test_unseen")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One utterance.

    Attributes:
        id: unique in the manifest; also the key inside shards (letters, digits, `-`, `_`).
        path: audio file, relative to the corpus root (POSIX separators).
        speaker: speaker name, e.g. "p225".
        sentence: identifies *what is said*: equal ids mean equal words (parallel recordings); None if unknown.
        text: the words, or None.
        split: one of `SPLITS`; "" until splits are assigned.
        gender: "F", "M" or None.  accent, emotion: free text or None.
        seconds: duration of the file.
        sha256: hash of the file's bytes (hex), or "" until computed.
        phones: espeak phoneme events [(symbol, start seconds), ...] of the synthetic corpus, else None.
        problem: why preparation rejects it, where that is known without reading the file (a file listed twice).
    """

    id: str
    path: str
    speaker: str
    sentence: str | None = None
    text: str | None = None
    split: str = ""
    gender: str | None = None
    accent: str | None = None
    emotion: str | None = None
    seconds: float = 0.0
    sha256: str = ""
    phones: list[tuple[str, float]] | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Manifest:
    """Rows plus where they came from. Saved as JSON lines: a header object, then one row per line, sorted by id.

    Attributes:
        corpus: registry name of the reader.
        root: folder that `Row.path` is relative to.
        rows: utterances, sorted by id.
    """

    corpus: str
    root: Path
    rows: tuple[Row, ...]
    info: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def speakers(self) -> list[str]:
        """Sorted speaker names: the index of a name here is `Batch.speaker`."""
        return sorted({row.speaker for row in self.rows})

    def select(self, *splits: str) -> "Manifest":
        """The rows of the given splits."""
        return replace(self, rows=tuple(row for row in self.rows if row.split in splits))

    def with_rows(self, rows: Iterable[Row]) -> "Manifest":
        """The same corpus with other rows (sorted by id; a duplicate id is a `UserError`)."""
        ordered = tuple(sorted(rows, key=lambda row: row.id))
        for before, after in zip(ordered, ordered[1:], strict=False):
            if before.id == after.id:
                raise UserError(f"utterance id '{after.id}' twice in {self.root}: {before.path} and {after.path}")
        return replace(self, rows=ordered)

    def file(self, row: Row) -> Path:
        """Absolute path of the row's audio file."""
        return self.root / row.path

    def digest(self) -> str:
        """Hash over all rows: equal on every machine for equal corpora, selections and splits."""
        text = "\n".join(_line(row) for row in self.rows)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write JSON lines; the file appears whole or not at all."""
        head = json.dumps({"corpus": self.corpus, "root": str(self.root), "info": self.info}, ensure_ascii=False)
        write_text(path, "\n".join([head, *(_line(row) for row in self.rows)]) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read what `save` wrote."""
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
        head = parse_json(lines[0])
        rows = []
        for line in lines[1:]:
            values = {key: value for key, value in parse_json(line).items() if key in _NAMES}
            if values.get("phones"):
                values["phones"] = [tuple(event) for event in values["phones"]]
            rows.append(Row(**values))
        return cls(head["corpus"], Path(head["root"]), tuple(rows), head.get("info", {}))


_NAMES = tuple(f.name for f in fields(Row))


def _line(row: Row) -> str:
    values = {name: value for name in _NAMES if (value := getattr(row, name)) not in (None, "")}
    return json.dumps(values, ensure_ascii=False, sort_keys=True)
