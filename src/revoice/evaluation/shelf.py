"""Sound that waits on a disk until it is measured: an evaluation makes more of it than memory holds."""

import tempfile
from typing import NamedTuple

import numpy as np

from revoice.audio.io import Audio
from revoice.errors import UserError


class Kept(NamedTuple):
    """Where a clip lies: from which byte on, and at how many Hz it is played."""

    at: int
    sample_rate: int


class Shelf:
    """Clips in one temporary file, bit for bit. It has no name where the system allows that, so it ends with us.

    Raises:
        UserError: no room for them.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="revoice-")  # closed with the shelf

    def put(self, clip: Audio) -> Kept:
        """Write a clip at the end."""
        try:
            kept = Kept(self._file.seek(0, 2), clip.sample_rate)
            np.save(self._file, clip.samples, allow_pickle=False)
            self._file.flush()
        except OSError as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"conversions wait in {tempfile.gettempdir()} to be measured, and it takes no more ({reason}): make "
                "room there, or name a folder on a larger disk: TMPDIR=FOLDER python evaluate.py ..."
            ) from error
        return kept

    def get(self, kept: Kept) -> Audio:
        """Read a clip."""
        self._file.seek(kept.at)
        return Audio(np.load(self._file, allow_pickle=False), kept.sample_rate)
