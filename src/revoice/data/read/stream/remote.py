"""Bytes from a path or an address."""

import logging
import posixpath
import time
from collections.abc import Sequence
from pathlib import Path

from revoice.errors import UserError, one_line

log = logging.getLogger(__name__)

TRIES = (1.0, 4.0, 15.0)  # seconds of waiting before an address is tried again


def located(address: str) -> str:
    """An address as it is; a path without `~` and links, since `..` of a link is the folder above what it names.

    Raises:
        UserError: a path that leads nowhere.
    """
    if "://" in address:
        return address
    try:
        return Path(address).expanduser().resolve().as_posix()
    except (OSError, ValueError, RuntimeError) as error:  # links in a circle, a zero byte, ~somebody unknown
        raise UserError(f"{one_line(address)}: no folder ({one_line(error)}); expected a path or a URL") from error


def fetch(address: str, tries: Sequence[float] | None = None) -> bytes:
    """The bytes at a path or at any address that fsspec opens; what is not a local file is tried several times."""
    if "://" not in address:
        if Path(address).exists() and not Path(address).is_file():
            raise OSError(f"{address} is not a regular file")  # a pipe may never end
        return Path(address).read_bytes()
    import fsspec

    for pause in (*(TRIES if tries is None else tries), None):
        try:
            with fsspec.open(address, "rb") as file:
                return file.read()
        except ImportError as error:
            raise UserError(f"{address}: {error}") from error
        except Exception as error:  # each kind of server has its own
            why = one_line(error.__cause__ or error)  # fsspec says "not found" of servers that cannot be reached
            if pause is None:
                raise OSError(f"{address}: {why}") from error
            log.warning("%s: %s; again in %g s", address, why, pause)
            time.sleep(pause)
    raise AssertionError("unreachable")


def joined(address: str, relative: str) -> str:
    """`relative` from the folder `address`, where `..` is the folder above.

    >>> joined("http://host:80/data/stream-1", "../f0-2/shard-000000.tar"), joined("/a/b", "../c")
    ('http://host:80/data/f0-2/shard-000000.tar', '/a/c')
    """
    scheme, mark, path = address.rpartition("://")
    return scheme + mark + posixpath.normpath(posixpath.join(path, relative))
