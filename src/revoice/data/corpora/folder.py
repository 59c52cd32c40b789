"""Anyone's own recordings: one subfolder per speaker, or a CSV that lists the files."""

import csv
import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import chain, zip_longest
from pathlib import Path

from revoice.audio.io import RECORDINGS
from revoice.data.corpora.base import CORPORA, Corpus, gender_of, key_of, read_text, sentence_id, visible
from revoice.data.corpora.manifest import SPLITS, Row
from revoice.errors import UserError, choices, one_line
from revoice.settings import Place

COLUMNS = ("path", "speaker", "text", "gender", "accent", "emotion", "split", "sentence")
CSV_SUFFIXES = (".csv", ".tsv")
TEXT = ".txt"  # beside a recording: what is said in it
_LONGEST_TEXT = 1 << 20  # bytes


@CORPORA.register("folder")
class Folder(Corpus):
    """Reads `SPEAKER/**/*.{wav,flac,mp3,...}` with an optional `.txt` of the same name, or a CSV.

    The CSV has a header; `path` (relative to the CSV's folder, or absolute) and `speaker` are needed, `COLUMNS` lists
    what else is read. Its `split` (train, val, test_seen, test_unseen, or just test) wins over the drawn one; `test`
    is `test_unseen` of speakers who have no other lines.

    Args:
        root: the folder of speakers, or a .csv or .tsv file.
        csv: a CSV inside the root, instead of the speaker subfolders.
    """

    title = "folder"
    where_to_get = "put your recordings there"
    layout = "one subfolder per speaker (alice/1.wav, alice/2.flac, bob/1.mp3) or a CSV with the columns path,speaker"

    def __init__(self, root: Place | None, csv: Place | None = None) -> None:
        super().__init__(root)
        self.csv = csv

    @cached_property
    def table(self) -> Path | None:
        """The CSV; None without one."""
        return self.root / self.csv if self.csv else self.root if self.root.suffix.lower() in CSV_SUFFIXES else None

    @property
    def folder(self) -> Path:
        """The root, or the folder of the CSV."""
        return self.table.parent if self.table else self.root

    def rows(self) -> Iterator[Row]:
        """One row per file or per line of the CSV."""
        rows = list(self._from_csv(self.table) if self.table else self._from_folders())
        ids = {row.path: row.id for row in rows}  # a path that is listed twice is for `manifest` to reject
        twice = {name for name, count in Counter(ids.values()).items() if count > 1}
        for row in rows:  # a.wav beside a.flac, "a b" beside "a-b": told apart by a hash of the whole path
            mark = "-" + hashlib.sha256(os.fsencode(row.path)).hexdigest()[:8] if row.id in twice else ""
            yield replace(row, id=row.id + mark)

    def _from_folders(self) -> Iterator[Row]:
        if not self.root.is_dir():
            raise self.problem(f"{self.root} is a file")
        speakers = list(visible(self.root))
        if not speakers and any(visible(self.root, RECORDINGS)):
            raise self.problem(f"{self.root} holds files but no speaker subfolders")
        if beside := sum(not path.is_dir() for path in visible(self.root, RECORDINGS)):
            self.passed_over["beside the speakers"] = beside
        for speaker in speakers:
            unreadable: list[OSError] = []
            for path in sorted(self._below(speaker, unreadable.append)):
                name = path.relative_to(self.root).as_posix()
                text = read_text(path.with_suffix(".txt"), _LONGEST_TEXT)
                yield Row(id=_id(name), path=name, speaker=speaker.name, text=text, sentence=sentence_id(text))
            for error in unreadable:  # nobody knows what is in there: told as one recording that cannot be used
                name = Path(error.filename).relative_to(self.root).as_posix()
                problem = f"is a folder that cannot be read ({error.strerror})"
                yield Row(id=_id(name), path=name, speaker=speaker.name, problem=problem)

    def _below(self, folder: Path, tell: Callable[[OSError], None]) -> Iterator[Path]:
        """All that is called like a recording and not hidden; `tell` of folders nobody may read, count other files."""
        tops, seen = [folder], {_identity(self.root)}  # a link may lead back to where the walk came from, or has been
        for place, folders, files in chain.from_iterable(os.walk(top, onerror=tell) for top in tops):
            if _identity(place) in seen:
                folders.clear()
                continue
            seen.add(_identity(place))
            for name in folders + files:
                suffix = os.path.splitext(name)[1].lower()
                if not name.startswith(".") and suffix in RECORDINGS:
                    yield Path(place, name)
                elif not name.startswith(".") and name in files and suffix != TEXT:
                    self.passed_over[suffix or "without a suffix"] += 1
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            tops += (link for name in folders if (link := Path(place, name)).is_symlink())  # not walked from here

    def _from_csv(self, table: Path) -> Iterator[Row]:
        lines = [line for line in _read_csv(table) if line.get("path")]
        learned = {line["speaker"] for line in lines if line.get("split") not in ("test", "test_unseen")}
        for line in lines:
            split = line.get("split", "")
            if split == "test":
                split = "test_seen" if line["speaker"] in learned else "test_unseen"
            if split and split not in SPLITS:
                raise choices(split, (*SPLITS, "test"), f"split in {table}")
            path = _turned(line["path"], table.parent)
            yield Row(
                id=_id(path),
                path=Path(path).as_posix(),
                speaker=line["speaker"],
                text=line.get("text") or None,
                sentence=line.get("sentence") or sentence_id(line.get("text")),
                gender=gender_of(line.get("gender")),
                accent=line.get("accent") or None,
                emotion=line.get("emotion") or None,
                split=split,
            )


def _identity(folder: str | Path) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _turned(path: str, folder: Path) -> str:
    """A path as it is; one written on Windows with the slashes that lead to a file."""
    turned = path.replace("\\", "/")
    return turned if turned != path and not os.path.exists(folder / path) and os.path.exists(folder / turned) else path


def _read_csv(table: Path) -> Iterator[dict[str, str]]:
    """The lines of a file with commas, semicolons or tabs between the columns, by lower-case column name."""
    text = read_text(table)
    if text is None:
        raise UserError(
            f"folder: no CSV at {table}; expected a header path,speaker and one line per file; type data.root=FILE.csv"
        )
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=lambda mark: (mark in first, -first.find(mark)))  # the first of them that is there
    lines = _lines(text, delimiter, table)
    header = [name.strip().lower() for name in next(lines)[1]]
    if missing := [name for name in ("path", "speaker") if name not in header]:
        raise UserError(
            f"folder: {table} has no column '{missing[0]}' but {one_line(first, 80)!r}; expected a header with "
            f"path,speaker (and, if known: {','.join(COLUMNS[2:])})"
        )
    for number, cells in lines:
        line = zip_longest(header, cells[: len(header)], fillvalue="")
        values = {key: value.strip() for key, value in line if key in COLUMNS}
        if values["path"] and not values["speaker"]:
            raise UserError(f"folder: line {number} of {table} has no speaker; expected path,speaker")
        yield values


def _lines(text: str, delimiter: str, table: Path) -> Iterator[tuple[int, list[str]]]:
    """Where each row begins, and its cells; a quote that stays open, which would swallow all further rows, is told."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    try:
        for cells in reader:
            if cells:
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"folder: {table} is not a readable CSV from line {begins} on ({error}): a quote that opens a cell must "
            "close it, and those inside are doubled"
        ) from error


def _id(path: str) -> str:
    return key_of(os.path.splitext(Path(path).as_posix())[0], path)
