"""`model.bin` of CTranslate2, read without believing any size in it.

The layout, little-endian: version (uint32), name of the architecture, its revision (uint32), number of variables
(uint32); each a name, rank (uint8), dimensions (uint32 each), type (uint8), bytes (uint32) and the numbers; number of
aliases (uint32), each two names. A name is its length with a closing zero (uint16), then the letters and the zero.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from revoice.errors import UserError, one_line
from revoice.untrusted import require_file

VERSION = 6  # of every Whisper that CTranslate2 has converted
_TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)  # by their number
_VARIABLES, _RANK, _LETTERS = 20_000, 8, 256  # in a file, of one, of a name; Whisper's have some 1,500, 3 and 60
_ALIASED = 2  # times the file that its variables may be, each alias counted as a copy: what a model makes of it


@dataclass(frozen=True)
class _Variable:
    """Where a variable lies."""

    start: int
    size: int
    shape: tuple[int, ...]
    dtype: torch.dtype


def is_model_bin(file: Path) -> bool:
    """Whether a file begins as CTranslate2's do."""
    with require_file(file).open("rb") as handle:
        return int.from_bytes(handle.read(4), "little") in range(1, 100)


def read_model_bin(file: Path, architecture: str, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Variables of a file, aliases among them, as they are stored: quantized ones stay whole numbers.

    Args:
        file: `model.bin`.
        architecture: the only one that is taken ("WhisperSpec").
        wanted: which names to read; the numbers of others are passed over.

    Raises:
        UserError: another architecture or version, or sizes that are not those of the file.
    """
    with require_file(file).open("rb") as handle:
        reader = _Reader(handle)
        whole = reader.left
        version = reader.number(4)
        if version != VERSION:
            raise UserError(f"a model.bin of version {version}, expected {VERSION}: convert the model anew")
        found = reader.word()
        if found != architecture:
            raise UserError(f"a model.bin of {found}, expected {architecture}")
        reader.number(4)
        variables = _variables(reader)
        chosen = {name: variable for name, variable in variables.items() if wanted(name)}
        for _ in range(reader.count("aliases")):
            alias, target = reader.word(), reader.word()
            if alias in variables or target not in variables:
                raise UserError(f"not a readable model.bin: {alias} is said to be {target}")
            if wanted(alias):
                chosen[alias] = variables[target]
        if reader.left:
            raise UserError(f"not a readable model.bin: {reader.left:,} bytes after its end")
        claimed = sum(variable.size for variable in chosen.values())
        if claimed > _ALIASED * whole:
            raise UserError(f"its variables claim {claimed:,} bytes, the file has {whole:,}: get it anew")
        loaded = {variable: _load(handle, variable) for variable in set(chosen.values())}
    return {name: loaded[variable] for name, variable in chosen.items()}


def _variables(reader: "_Reader") -> dict[str, _Variable]:
    variables: dict[str, _Variable] = {}
    for _ in range(reader.count("variables")):
        name, rank = reader.word(), reader.number(1)
        if name in variables or rank > _RANK:
            raise UserError(f"not a readable model.bin: {name} is there twice, or has {rank} dimensions")
        shape = tuple(reader.number(4) for _ in range(rank))
        kind, size = reader.number(1), reader.number(4)
        if kind >= len(_TYPES):
            raise UserError(f"not a readable model.bin: {name} is of type {kind}, expected 0 to {len(_TYPES) - 1}")
        if size != math.prod(shape) * _TYPES[kind].itemsize:
            raise UserError(f"not a readable model.bin: {name} is {_TYPES[kind]} {list(shape)} in {size:,} bytes")
        variables[name] = _Variable(reader.skip(size), size, shape, _TYPES[kind])
    return variables


def _load(handle: IO[bytes], variable: _Variable) -> Tensor:
    handle.seek(variable.start)
    numbers = bytearray(handle.read(variable.size))
    if len(numbers) < variable.size:
        raise UserError("not a readable model.bin: it became shorter while it was read")
    flat = torch.frombuffer(numbers, dtype=variable.dtype) if numbers else torch.empty(0, dtype=variable.dtype)
    return flat.reshape(variable.shape)


class _Reader:
    """Takes bytes from a file as long as there are any."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self.left = handle.seek(0, io.SEEK_END)
        handle.seek(0)

    def _spend(self, count: int) -> None:
        if count > self.left:
            raise UserError(f"not a readable model.bin: {count:,} bytes expected, {self.left:,} left: get it anew")
        self.left -= count

    def number(self, size: int) -> int:
        """An unsigned number of `size` bytes."""
        self._spend(size)
        return int.from_bytes(self._handle.read(size), "little")

    def count(self, what: str) -> int:
        """How many of something follow."""
        count = self.number(4)
        if count > _VARIABLES:
            raise UserError(f"not a readable model.bin: it claims {count:,} {what}, expected at most {_VARIABLES:,}")
        return count

    def word(self) -> str:
        """A name."""
        length = self.number(2)
        if not 1 < length <= _LETTERS:
            raise UserError(f"not a readable model.bin: a name of {length} letters, expected 2 to {_LETTERS}")
        self._spend(length)
        letters = self._handle.read(length)
        if letters[-1:] != b"\0" or not letters[:-1].isascii():
            raise UserError("not a readable model.bin: a name that is none")
        return one_line(letters[:-1].decode("ascii"), _LETTERS)

    def skip(self, count: int) -> int:
        """Pass over bytes; where they begin."""
        self._spend(count)
        start = self._handle.tell()
        self._handle.seek(count, io.SEEK_CUR)
        return start
