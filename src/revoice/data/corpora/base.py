"""What a corpus reader is: a folder in, manifest rows out, without decoding any audio."""

import hashlib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from revoice.data.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.registry import Registry

CORPORA: "Registry[Corpus]" = Registry("corpus", "revoice.data.corpora")


class Corpus(ABC):
    """A reader of one corpus layout.

    A new corpus is one file in this package: a subclass, decorated with `@CORPORA.register(name)`, whose `__init__`
    takes `root` and plain settings, and whose `rows` yields one `Row` per utterance.

    Class attributes:
        name: registry name, set by the decorator.
        title: the corpus's name for people.
        where_to_get: where the corpus is to be had.
        layout: the files expected under the root.

    Args:
        root: folder of the corpus; `~` is expanded.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    where_to_get: ClassVar[str]
    layout: ClassVar[str]

    def __init__(self, root: str | Path | None) -> None:
        if root is None or str(root) == "":
            raise self.problem("no folder is given")
        self.root = Path(root).expanduser().absolute()

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
        """All rows, sorted by id.

        Raises:
            UserError: the root is missing, empty, or holds something else; the message names the layout expected
                and where the corpus is to be had.
        """
        self.make()
        if not self.root.exists():
            raise self.problem(f"{self.root} does not exist")
        try:
            rows = list(self.rows())
        except OSError as error:
            raise self.problem(f"{error.filename} cannot be read ({error.strerror})") from error
        if not rows:
            empty = self.root.is_dir() and not any(self.root.iterdir())
            raise self.problem(f"{self.root} is empty" if empty else f"{self.root} holds nothing of that layout")
        return Manifest(self.name, self.folder, ()).with_rows(rows)

    def problem(self, what: str) -> UserError:
        """A one-line error: what is wrong with the root, the layout expected, where to get the corpus, what to type."""
        return UserError(
            f"{self.title}: {what}; expected {self.layout}; {self.where_to_get}; then type data.root=FOLDER"
        )


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


def read_text(path: Path) -> str | None:
    """The stripped text of a small file, or None if it is missing or empty."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace").strip() or None
    except OSError:
        return None


def visible(folder: Path, suffixes: Iterable[str] | None = None) -> Iterator[Path]:
    """Entries of `folder` in sorted order, without hidden ones: the subfolders, or the files with one of `suffixes`."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        if path.is_dir() if suffixes is None else path.suffix.lower() in suffixes and path.is_file():
            yield path
