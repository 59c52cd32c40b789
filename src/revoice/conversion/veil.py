"""Records and names that do not tell who was hidden: digests with a key that only the user has, instead of names.

Without the key a digest could be found again: whoever has the recordings of some people, or guesses their names, would
take the digests of all of them and compare. With it, only the same user can tell which output is whose, and go on.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from revoice.atomic import whole
from revoice.errors import UserError

# what names a source, or a seed from which its disguise follows, or a place on the user's machine
VEILED = ("source", "source_sha256", "target", "target_sha256", "target_embedding", "arguments", "checkpoint")
_BYTES = 32


@dataclass(frozen=True)
class Veil:
    """What stands in records for what they must not hold.

    Attributes:
        key: secret.
    """

    key: bytes = field(repr=False)

    def __call__(self, value: Any) -> Any:
        """16 hex digits for a value of JSON, for each item of a list; None stays None: equal for what is equal."""
        if value is None or isinstance(value, list):
            return None if value is None else [self(item) for item in value]
        text = json.dumps(value, sort_keys=True).encode()
        return hmac.new(self.key, text, hashlib.sha256).hexdigest()[:16]

    def over(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record of an output without what names its source."""
        veiled = {key: self(value) if key in VEILED else value for key, value in record.items()}
        how = record.get("vocoder_settings")
        if isinstance(how, Mapping) and "checkpoint" in how:
            veiled["vocoder_settings"] = {**how, "checkpoint": self(how["checkpoint"])}
        return veiled

    @classmethod
    def of_user(cls) -> "Veil":
        """With the key of this user, `$XDG_STATE_HOME/revoice/hiding.key`, drawn at the first use.

        Raises:
            UserError: it cannot be kept there.
        """
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        path = Path(state) / "revoice" / "hiding.key"
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(path.with_suffix(".lock")):  # of processes that start together only one draws
                    if not path.exists():
                        with whole(path, sync=True) as file:
                            os.chmod(file.name, 0o600)
                            file.write(secrets.token_bytes(_BYTES))
            key = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"{path}: the key by which hidden recordings are known again cannot be kept there "
                f"({error.strerror or error}): set XDG_STATE_HOME=FOLDER"
            ) from error
        if len(key) != _BYTES:
            raise UserError(f"{path}: is no key, expected {_BYTES} bytes: take it away, and another is drawn")
        return cls(key)
