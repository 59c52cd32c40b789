"""Text that strangers wrote, in three places where it could do more than be read: JSON, names of files, spreadsheets.

What a terminal may be shown of it: `revoice.errors.printable` and `one_line`.
"""

import csv
import hashlib
import io
import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from revoice.atomic import write_text

LONGEST_NAME = 120  # bytes of a file name that is made here: with suffix and number it fits every file system
_HARMLESS = frozenset(" _-.,+=()@")  # in a file name, beside letters, digits and accents of any script
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # what a cell begins with that a spreadsheet computes


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; nesting without end is a `ValueError` like every other fault in it.

    >>> parse_json("[1, 2]")
    [1, 2]
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error


def file_name(text: str) -> str:
    r"""A file name for any text: of one folder, at most `LONGEST_NAME` bytes, another one for every other text.

    Ordinary names stay as they are. What had to be changed is told apart by a hash of the whole text, which belongs
    into tables and JSON as it is.

    >>> file_name("p225_001_to_p226"), file_name("../a\n/b")
    ('p225_001_to_p226', 'a-b-fb31415f')
    """
    known = unicodedata.normalize("NFC", text)
    clean = "".join(c if unicodedata.category(c)[0] in "LMN" or c in _HARMLESS else "\0" for c in known)
    clean = "-".join(part for part in clean.split("\0") if part.strip(" .")).strip(" .-")
    if clean and clean == text and len(clean.encode()) <= LONGEST_NAME:
        return clean
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    short = clean.encode()[: LONGEST_NAME - 1 - len(mark)].decode("utf-8", "ignore")
    return f"{short}-{mark}".lstrip("-")


def cell(value: Any) -> Any:
    """A value for a CSV: text that a spreadsheet would compute gets an apostrophe in front, which it does not show.

    >>> cell("=1+1"), cell("p225"), cell("-1e-3"), cell(-2.5)
    ("'=1+1", 'p225', '-1e-3', -2.5)
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def write_csv(path: Path, lines: Iterable[Iterable[Any]]) -> None:
    """Write lines of values as CSV, every value as a `cell`; the file appears whole or not at all."""
    text = io.StringIO()
    csv.writer(text).writerows([cell(value) for value in line] for line in lines)
    write_text(path, text.getvalue())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
