"""Files of weights that strangers made: read without running anything in them, and never larger than they are.

A pickle is a program. Three things stand before it: the archive's members are plain, whole (CRC) and no larger than
the file; the program may name nothing but tensors; torch reads it with `weights_only=True`, from an archive that was
written anew of the members that were judged, since two readers may find different ones in one file. What comes out is
counted, so that neither nesting nor tensors that repeat one number can ask for more memory than a few times the file's
bytes.
"""

import io
import json
import math
import os
import pickle
import pickletools
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
import yaml
from torch import Tensor

from revoice.errors import UserError, one_line
from revoice.foreign import parse_json

_SMALL = 4 << 20  # bytes of settings and statistics of others, which have some thousands
_PROGRAM = 16 << 20  # bytes of pickle, and of a description: ours have some 100,000, and the names of all speakers
_STEPS = 4 << 20  # of a pickle, each of which may make an object; three for each speaker
_SETTINGS, _EVENTS = 64 << 10, 5_000  # bytes and marks of a YAML file; published ones have some 2,000 and 300
_VALUES, _DEPTH = 1_000_000, 32  # values in a file and levels of nesting; ours have some thousands and 6
_OWN = 0.75  # the part of these that a description may take of a file, in which training keeps its state, too
_LETTERS = 10_000  # of one string
_SHARED = 8  # tensors of the file's size that may share their numbers: tied weights are two, each a copy in a model
_WHOLE = 2**53  # largest whole number
LARGEST = 1_000_000  # of a whole number among a model's arguments: widths, layers, codes, speakers
_ZIP = b"PK\x03\x04"
_LEGACY = 5  # pickles before the numbers in a file of torch.save before 1.6
_PARTS = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"}


@contextmanager
def refused(file: Path, what: str) -> Iterator[None]:
    """Turn whatever goes wrong with a file into one line that names it: `FILE: not a readable WHAT (...)`."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{file}: {one_line(error)}") from error
    except Exception as error:  # damage can surface anywhere
        raise UserError(f"{file}: not a readable {what} ({_reason(error)}): get it anew from where it is") from error


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, MemoryError):
        return "asks for too much memory"
    return one_line(error or type(error).__name__, 120)


def require_file(path: Path) -> Path:
    """The path, if it is a file or nothing: pipes and devices may never end."""
    expected = "give a .ckpt or .safetensors file, or a run folder"
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: not a regular file: {expected}")
    except OSError as error:  # no name, or a folder that may not be entered
        raise UserError(f"{one_line(path)}: {error.strerror}: {expected}") from error
    return path


def read_torch(file: Path, legacy: bool = False, standins: Any = None) -> Any:
    """What `torch.save` wrote: plain values and tensors on the CPU.

    Args:
        file: a zip archive as torch has written since 1.6.
        legacy: also take files of older versions, which have no checksum.
        standins: what stands for classes that the file names (`revoice.interop.pickled`); None: it may name none.

    Raises:
        UserError: anything else in it; not named, the caller wraps this in `refused`.
    """
    with require_file(file).open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        judged: IO[bytes] = handle
        if handle.read(len(_ZIP)) == _ZIP:
            judged = _rewritten(handle, size, standins)
        elif legacy:
            handle.seek(0)
            if _is_tar(handle):  # torch would read other programs in it than those judged here
                raise UserError("a tar archive, as torch wrote before 2017: save it anew with a later version")
            handle.seek(0)
            _check_program(handle.read(_PROGRAM), _LEGACY, standins)
            handle.seek(0)
        else:
            raise UserError("not a readable checkpoint of plain tensors (not written by torch.save): give a .ckpt")
        with warnings.catch_warnings(action="ignore"):
            how = {"weights_only": True} if standins is None else {"weights_only": False, "pickle_module": standins}
            content = torch.load(judged, map_location="cpu", **how)
    _check_claims(content, size)
    return content


def _is_tar(handle: IO[bytes]) -> bool:
    """As torch itself finds out."""
    try:
        tarfile.open(fileobj=handle, mode="r:", format=tarfile.PAX_FORMAT).close()
    except tarfile.TarError:
        return False
    return True


def _rewritten(handle: IO[bytes], size: int, standins: Any) -> IO[bytes]:
    """A zip archive of the members of another one (a file of `size` bytes), once all are found plain and whole."""
    own = io.BytesIO()
    with zipfile.ZipFile(handle) as archive, zipfile.ZipFile(own, "w", zipfile.ZIP_STORED) as written:
        members = archive.infolist()
        names = [member.filename.lower() for member in members]
        programs = [m for m in members if m.filename.lower().endswith((".pkl", ".py"))]
        if len(set(names)) < len(names) or any(m.compress_type != zipfile.ZIP_STORED for m in members):
            raise UserError("not a readable checkpoint (compressed or twice the same): torch.save writes no such file")
        if sum(member.file_size for member in members) > size:
            raise UserError("not a readable checkpoint (its parts claim to be larger than the file): get it anew")
        if [Path(m.filename).name for m in programs] != ["data.pkl"] or programs[0].file_size > _PROGRAM:
            raise UserError("not a readable checkpoint of plain tensors (expected a small data.pkl and no other code)")
        for member in members:
            content = archive.read(member)  # an error where the CRC differs
            if member is programs[0]:
                _check_program(content, 1, standins)
            written.writestr(zipfile.ZipInfo(member.filename), content)
    own.seek(0)
    return own


def _check_program(program: bytes, pickles: int, standins: Any) -> None:
    stream, steps = io.BytesIO(program), 0
    for _ in range(pickles):
        for opcode, argument, _place in pickletools.genops(stream):
            steps += 1
            if steps > _STEPS:
                raise UserError(f"not a readable checkpoint (more than {_STEPS:,} steps of pickle): get it anew")
            _require_near(opcode.name, argument, program)
            name = str(argument) if opcode.name == "GLOBAL" else ""
            dangerous = opcode.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4")
            storage = name.startswith("torch ") and name.endswith("Storage") and name.isascii()
            standing = standins is not None and standins.takes(name)
            if dangerous or (name and name not in _PARTS and not storage and not standing):
                asked = name.replace(" ", ".") or f"code by {opcode.name}"
                raise UserError(
                    f"not a readable checkpoint of plain tensors: it asks for {one_line(asked, 60)}, nothing was run; "
                    "ask its author for a .safetensors file"
                )


def read_small(file: Path, most: int = _SMALL) -> bytes:
    """The bytes of a file that is never large: settings, statistics."""
    with require_file(file).open("rb") as handle:
        content = handle.read(most + 1)
    if len(content) > most:
        raise UserError(f"more than {most:,} bytes, where a few thousand were expected")
    return content


def read_yaml(file: Path) -> Any:
    """The values of a small YAML file; what references (`*a`, `<<: *a`) repeat counts each time."""
    text = read_small(file, _SETTINGS).decode()
    sizes: dict[str, int] = {}  # of what has an anchor, references in it written out
    opened: list[tuple[str | None, int]] = []  # collections around the event: anchor, size of all that came before
    total = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            called, before = opened.pop()
            if called is not None:
                sizes[called] = total - before
            continue
        anchor: str | None = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent) and anchor not in sizes:
            raise UserError(f"refers to a part of itself that holds the reference or comes later (*{anchor})")
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((anchor, total))
        elif isinstance(event, yaml.ScalarEvent) and anchor is not None:
            sizes[anchor] = 1
        total += sizes[str(anchor)] if isinstance(event, yaml.AliasEvent) else 1
        if total > _EVENTS or len(opened) > _DEPTH:
            raise UserError("more values or levels of nesting than any settings have: get the file anew")
    return yaml.safe_load(text)


def require_bounded(program: bytes) -> None:
    """Refuse a pickle that is cut, or that numbers its objects so high that the table of them would fill the memory."""
    for opcode, argument, _place in pickletools.genops(program):
        _require_near(opcode.name, argument, program)


def _require_near(opcode: str, argument: Any, program: bytes) -> None:
    if "PUT" in opcode and int(argument or 0) > len(program):
        raise UserError(f"a pickle of {len(program):,} bytes with object number {argument}: get the file anew")


def _check_claims(content: Any, size: int) -> None:
    """Refuse nesting without end and tensors of more numbers than the file holds (one number, said to be many)."""
    claimed = 0
    numbers: dict[int, int] = {}  # the most bytes that one tensor claims of each storage: weights may be tied
    for value in _values(content):
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
                raise UserError("not a readable checkpoint of plain tensors: it has sparse or quantized ones")
            wanted, storage = value.numel() * value.element_size(), value.untyped_storage().data_ptr()
            claimed += wanted
            numbers[storage] = max(wanted, numbers.get(storage, 0))
    if sum(numbers.values()) > size or claimed > _SHARED * size:
        raise UserError(f"its tensors claim {claimed:,} bytes, the file has {size:,}: get it anew from where it is")


def _values(content: Any) -> Iterator[Any]:
    """Everything in nested containers, each time it is met; too much or too deep is a `UserError`."""
    waiting, met = [(content, 0)], 1
    while waiting:
        value, depth = waiting.pop()
        yield value
        if isinstance(value, Mapping | list | tuple):
            met += 2 * len(value) if isinstance(value, Mapping) else len(value)
            if met > _VALUES or depth >= _DEPTH:
                raise UserError(
                    "more values or levels of nesting than any checkpoint has: get it anew from where it is"
                )
            inner = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
            waiting.extend((each, depth + 1) for each in inner)


def fits(values: Any) -> bool:
    """Whether plain values of ours, as JSON or in a pickle, would not be refused for their size when they are read."""
    text, program = json.dumps(values), pickle.dumps(values, protocol=2)
    return max(len(text), len(program)) <= _OWN * _PROGRAM and _parts(text) <= _OWN * _VALUES


def _parts(text: str) -> int:
    """Of JSON: no fewer than the values in it."""
    return 1 + sum(map(text.count, ",[{"))


def plain(values: Any, what: str, largest: int = _WHOLE) -> Any:
    """The values, if they are what JSON can say, of finite size: no later step can meet an object or a giant.

    Args:
        values: nested dicts, lists, tuples, strings, finite numbers, booleans, None.
        what: their name in messages.
        largest: whole numbers must not exceed it.
    """
    for value in _values(values):
        if type(value) in (dict, list, tuple, bool, type(None)):
            continue
        if type(value) is int and abs(value) <= largest:
            continue
        if type(value) is float and math.isfinite(value):
            continue
        if type(value) is str and len(value) <= _LETTERS:
            continue
        shown = type(value).__name__ if not isinstance(value, int | float) else one_line(f"{float(value):g}")
        raise UserError(f"{what} has a value that no model has ({shown}): expected words and finite numbers")
    return values


def read_safetensors(
    file: Path, key: str, wanted: Callable[[str], bool] = lambda name: True
) -> tuple[Any, dict[str, Tensor]]:
    """The JSON that the header holds under `key` (None if it does not), and the tensors whose names are wanted."""
    from safetensors import safe_open

    with safe_open(require_file(file), framework="pt") as handle:
        text = (handle.metadata() or {}).get(key, "null")
        if len(text) > _PROGRAM or _parts(text) > _VALUES:
            raise UserError(f"not a readable safetensors file (a description of {len(text):,} letters)")
        return parse_json(text), {name: handle.get_tensor(name) for name in handle.keys() if wanted(name)}
