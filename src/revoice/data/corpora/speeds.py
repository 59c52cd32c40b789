"""Recordings of another corpus played faster and slower: each speed makes another voice of every speaker.

Pitch and formants move together, as with another size of the body; a larger number of voices is what a model for any
voice lacks most (speed perturbation, Ko et al., Interspeech 2015; as new speakers, Yamamoto et al., Interspeech 2019).
Only what the other corpus trains on is copied: a copy of a held-out recording would teach what is to be tested.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from revoice.audio.io import AudioError, read_audio, resample, write_audio
from revoice.data.corpora.base import CORPORA, Corpus
from revoice.data.corpora.manifest import Manifest, Row
from revoice.data.corpora.splits import Splits
from revoice.data.files import locked, read_lines, write_lines
from revoice.data.prepare.progress import Progress
from revoice.errors import UserError
from revoice.foreign import file_name
from revoice.mistakes import Expected
from revoice.settings import Given, Number, Place, Whole, Words, from_mapping

SLOWEST, FASTEST = 0.5, 2.0


def _another(speed: float) -> float:
    if speed == 1:
        raise ValueError("the speed of the corpus itself")
    return speed


Speed = Annotated[
    Number, Field(ge=SLOWEST, le=FASTEST), AfterValidator(_another),
    Expected(f"a number from {SLOWEST} to {FASTEST}, and not 1"),
]  # fmt: skip


@CORPORA.register("speeds")
class Speeds(Corpus):
    """Copies of another corpus's training recordings at other speeds, made when that corpus is first seen with them.

    Args:
        root: the copies lie in a folder of this one, named after what they are made of.
        of: the other corpus: `name`, `root`, its settings, and `splits`, by which its training recordings are told.
        speeds: 1.1 is faster and higher by a tenth.
        leave_out: further speakers that are not copied.
        sample_rate: of the copies, Hz.
    """

    title = "copies at other speeds"
    where_to_get = "they are made of another corpus: data.corpus.of={name: vctk, root: FOLDER, splits: {...}}"
    layout = "training recordings of that corpus"

    def __init__(
        self,
        root: Place | None,
        of: Given | None = None,
        speeds: tuple[Speed, ...] = (0.88, 1.13),
        leave_out: Words = (),
        sample_rate: Annotated[Whole, Field(ge=1000, le=192_000)] = 22050,
    ) -> None:
        super().__init__(root)
        settings = dict(of or {})
        if not settings.get("name"):
            raise UserError("data=speeds: of which corpus? expected data.corpus.of={name: vctk, root: FOLDER}")
        if settings.get("splits") is None:
            raise UserError(
                "data.corpus.of.splits is missing, and held-out recordings must not be copied: expected those of the "
                'other corpus, e.g. "${data.parts.vctk.splits}"'
            )
        self.splits = from_mapping(Splits, settings.pop("splits"), "data.corpus.of.splits")
        self.source = CORPORA.build(
            str(settings.pop("name")), settings, {"limit": self.splits.limit}, what="data.corpus.of"
        )
        self.marks = _marks([float(speed) for speed in speeds])
        self.leave_out, self.sample_rate = frozenset(leave_out), sample_rate
        about = [str(self.source._root), sorted(settings.items()), list(self.marks.values()), sample_rate]
        key = hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()[:10]
        self._root = self._root and self._root / f"{self.source.name}-{key}"
        self._list: Path | None = None

    def make(self) -> None:
        """Write the copies that are not there; other processes wait."""
        manifest = self.splits.assign(self.source.manifest()).select("train")
        rows = [row for row in manifest if row.speaker not in self.leave_out and not row.problem]
        chosen = hashlib.sha256("\n".join(row.id for row in rows).encode()).hexdigest()[:10]
        self._list = self.root / f"utterances-{chosen}.jsonl"
        if self._list.is_file():
            return
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.root.parent), Progress("making copies at other speeds", len(rows), True) as bar:
            if not self._list.is_file():
                lines = []
                for row in rows:
                    copies, seconds = self._copies(row, manifest)
                    lines += copies
                    bar.advance(1, seconds)
                write_lines(self._list, lines)

    def _copies(self, row: Row, manifest: Manifest) -> tuple[list[dict[str, Any]], float]:
        """Lines of the copies of one recording, and its seconds; what cannot be read is told by its own corpus."""
        lines, missing = [], dict[Path, float]()
        for mark, speed in self.marks.items():
            speaker, id = f"{row.speaker}-{mark}", f"{row.id}-{mark}"
            path = self.root / file_name(speaker) / f"{id}.flac"
            if not path.is_file():
                missing[path] = speed
            lines.append({"id": id, "path": f"{path.parent.name}/{path.name}", "speaker": speaker, "text": row.text})
        if not missing:
            return lines, 0.0
        try:
            audio = read_audio(manifest.file(row))
        except AudioError:
            return [], 0.0
        for path, speed in missing.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = resample(audio.samples, round(audio.sample_rate * speed), self.sample_rate)
            write_audio(path, samples, self.sample_rate)
        return lines, audio.seconds

    def rows(self) -> Iterable[Row]:
        """The copies; they say what their originals say, but are of no use as true recordings: `sentence` is None."""
        assert self._list is not None  # `manifest` makes it first
        blank = Row(id="", path="", speaker="")
        for line in read_lines(self._list):
            yield replace(blank, **line)


def _marks(speeds: list[float]) -> dict[str, float]:
    """What the voices of each speed are marked with."""
    marks = dict[str, float]()
    for speed in speeds:
        mark = f"x{round(100 * speed):03d}"
        if mark in marks:
            raise UserError(f"data.corpus.speeds: {marks[mark]:g} and {speed:g} are too near, both are called {mark}")
        marks[mark] = speed
    return marks
