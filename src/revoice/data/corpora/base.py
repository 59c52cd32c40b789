"""What a corpus reader is: a folder in, manifest rows out, without decoding any audio."""

import hashlib
import logging
import os
import re
import stat
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import ClassVar

from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError, choices, encodable, is_text, one_line, printable
from revoice.registry import Registry
from revoice.settings import Place

log = logging.getLogger(__name__)

LONGEST_SPEAKER = 1_000  # letters: checkpoints are read back with names of some thousand at most
LONGEST_ID = 80  # letters of an id: a member of a tar archive has a name of at most 100
CORPORA: "Registry[Corpus]" = Registry("corpus", "revoice.data.corpora", typed="data.corpus")


class Corpus(ABC):
    """A reader of one corpus layout.

    A new corpus is one file in this package: a subclass, decorated with `@CORPORA.register(name)`, whose `__init__`
    takes `root` and plain settings, and whose `rows` yields one `Row` per utterance.

    Class attributes:
        name: registry name, set by the decorator.
        title: the corpus's name for people.
        where_to_get: where the corpus is to be had.
        layout: the files expected under the root.
        accent: of espeak-ng that its texts are read with; "" where their language is not known.

    Args:
        root: folder of the corpus; `~` is expanded. None will do where only streams of the corpus are read.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    where_to_get: ClassVar[str]
    layout: ClassVar[str]
    accent: ClassVar[str] = ""

    def __init__(self, root: Place | None) -> None:
        self.passed_over: Counter[str] = Counter()  # files that are no recordings, by suffix, once `rows` were read
        self._root = None if root is None else root.absolute()

    only: Sequence[str] | None = None  # names of the speakers that are wanted (data.speakers); None: all

    @property
    def root(self) -> Path:
        """Folder of the corpus; a `UserError` if none is given."""
        if self._root is None:
            raise self.problem("no folder is given")
        return self._root

    @abstractmethod
    def rows(self) -> Iterable[Row]:
        """One row per utterance, paths relative to `folder`; cheap: text files may be read, audio may not."""

    @property
    def folder(self) -> Path:
        """Folder that `Row.path` is relative to: the root, or where the corpus lies inside it."""
        return self.root

    def make(self) -> None:
        """Called first by `manifest`: a corpus that can create itself does so here."""
        return None

    def manifest(self) -> Manifest:
        """All rows, sorted by id; what cannot be an utterance (a file listed twice) carries the `problem`.

        Raises:
            UserError: the root is missing, empty, or holds something else; the message names the layout expected
                and where the corpus is to be had.
        """
        self.make()
        if not self.root.exists():
            raise self.problem(f"{self.root} does not exist")
        if not is_text(str(self.root)):
            raise self.problem(f"the name {printable(str(self.root))} is not valid UTF-8 (rename the folder)")
        self.passed_over.clear()
        try:
            rows = list(self.rows())
        except OSError as error:
            raise self.problem(f"{error.filename} cannot be read ({error.strerror})") from error
        if not rows:
            empty = self.root.is_dir() and not any(self.root.iterdir())
            others = _told(self.passed_over)
            held = f"{self.root} holds nothing of that layout{f', but {others}' if others else ''}"
            raise self.problem(f"{self.root} is empty" if empty else held)
        if self.passed_over:
            log.info("%s: left out: %s", self.root, _told(self.passed_over))
        named = [_named(row) for row in rows]
        return Manifest(self.name, self.folder, ()).with_rows(_told_apart(self._wanted(named)))

    def _wanted(self, rows: list[Row]) -> list[Row]:
        """Those of the speakers that are asked for."""
        known = {row.speaker for row in rows}
        for name in self.only or ():
            if name not in known:
                raise choices(name, known, "speaker (data.speakers)")
        return [row for row in rows if self.only is None or row.speaker in self.only]

    def problem(self, what: str) -> UserError:
        """A one-line error: what is wrong with the root, the layout expected, where to get the corpus, what to type."""
        return UserError(
            f"{self.title}: {what}; expected {self.layout}; {self.where_to_get}; then type data.root=FOLDER"
        )


def _told(suffixes: Counter[str]) -> str:
    """Files by their suffixes in words, the most frequent first.

    >>> _told(Counter({".txt": 2, ".m4p": 30}))
    '30 files .m4p, 2 files .txt'
    """
    named = [f"{count} file{'s' * (count > 1)} {one_line(name, 20)}" for name, count in suffixes.most_common(6)]
    return ", ".join([*named, "and others"] if len(suffixes) > 6 else named)


def sentence_id(text: str | None) -> str | None:
    """Identifies the words of `text`, whatever its case, punctuation and spacing; None without words.

    >>> sentence_id("There is , according to legend") == sentence_id("there is according to Legend.")
    True
    >>> sentence_id("It's so") == sentence_id("Its so"), sentence_id(" - ")
    (True, None)
    """
    letters = re.sub(r"['\u2019]", "", unicodedata.normalize("NFKC", text or "").casefold())
    words = re.findall(r"[^\W_]+", letters)
    return "s" + hashlib.sha256(" ".join(words).encode()).hexdigest()[:10] if words else None


def gender_of(value: str | None) -> str | None:
    """ "F", "M" or None from what corpora write.

    >>> [gender_of(v) for v in ("F", "male", "Female", "?", None)]
    ['F', 'M', 'F', None, None]
    """
    first = (value or "").strip()[:1].upper()
    return first if first in ("F", "M") else None


def key_of(name: str, path: str) -> str:
    """An id of at most 80 letters, digits, "-" and "_"; what had to be changed is told apart by a hash of the path.

    >>> key_of("alice/take_1", "alice/take_1.wav"), key_of("alice/take 1", "alice/take 1.wav")
    ('alice-take_1', 'alice-take-1-4b2ac2a0')
    """
    clean = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")
    if clean == name.replace("/", "-") and 0 < len(clean) <= LONGEST_ID:
        return clean
    mark = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{clean[: LONGEST_ID - 9]}-{mark}".lstrip("-")


def _named(row: Row) -> Row:
    """The row with an id that shards can hold, and without names that JSON cannot hold."""
    id = row.id if re.fullmatch(r"[A-Za-z0-9_-]+", row.id) and len(row.id) <= LONGEST_ID else key_of(row.id, row.path)
    if len(row.speaker) > LONGEST_SPEAKER:
        shown = one_line(row.speaker, 40)
        return replace(row, id=id, path=encodable(row.path), speaker=encodable(shown), problem=f"{shown} is no speaker")
    if is_text(row.path) and is_text(row.speaker):
        return replace(row, id=id)
    problem = "its name is not valid UTF-8: rename it"
    return replace(row, id=id, path=encodable(row.path), speaker=encodable(row.speaker), problem=problem)


def _told_apart(rows: Sequence[Row]) -> Iterator[Row]:
    """Of rows with one id the first is kept, the others get an id of their own and the reason to reject them."""
    taken, first = {row.id for row in rows}, dict[str, Row]()
    for row in rows:
        before = first.setdefault(row.id, row)
        if before is not row:
            same = os.path.normpath(before.path) == os.path.normpath(row.path)
            problem = "is listed twice" if same else f"has the same id as {before.path}"
            id = next(name for n in count(2) if (name := f"{row.id}-again-{n}") not in taken)
            taken.add(id)
            row = replace(row, id=id, problem=row.problem or problem)
        yield row


def read_text(path: Path, most: int = 1 << 30) -> str | None:
    """The stripped text of a file, or None if it is missing, empty, no file, or of more than `most` bytes.

    No more is read than the file's size says: files of the system (/proc) say 0, and reading them may wait for ever.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= most:
            return None
        with path.open("rb") as file:
            return file.read(found.st_size).decode("utf-8-sig", "replace").strip() or None
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return None


def visible(folder: Path, suffixes: Iterable[str] | None = None) -> Iterator[Path]:
    """Entries of `folder` in sorted order, without hidden ones: the subfolders, or what has one of `suffixes`.

    What is called like a recording but is none (a folder, a broken link) is listed, so that it can be rejected.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        if path.is_dir() if suffixes is None else path.suffix.lower() in suffixes:
            yield path
