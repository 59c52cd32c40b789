"""What readers of emotional corpora share: one word per emotion, and which of them are wanted."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from revoice.audio.io import RECORDINGS
from revoice.data.corpora.base import Corpus
from revoice.data.corpora.manifest import Row
from revoice.errors import choices
from revoice.settings import Place, Word, one_or_more

# one word per emotion, whatever a corpus calls it; "neutral, happy, sad, angry" are those of the embedded corpus, too
EMOTIONS = (
    *("neutral", "happy", "sad", "angry", "surprised", "fearful", "disgusted"),
    *("calm", "bored", "excited", "frustrated", "other"),
)


def _known(emotion: str) -> str:
    if emotion not in EMOTIONS:
        raise choices(emotion, EMOTIONS, "emotion (data.corpus.emotions)")
    return emotion


Emotions = Annotated[
    tuple[Annotated[Word, AfterValidator(_known)], ...], Field(min_length=1), BeforeValidator(one_or_more)
]


class Emotional(Corpus):
    """A reader whose rows have an emotion, one of `EMOTIONS`.

    Args:
        root: folder of the corpus.
        emotions: which to read; None: all.
    """

    words: ClassVar[dict[str, str]]  # what the corpus calls an emotion -> its word in `EMOTIONS`

    def __init__(self, root: Place | None, emotions: Emotions | None = None) -> None:
        super().__init__(root)
        self.emotions = emotions

    def rows(self) -> Iterator[Row]:
        """One row per utterance of the emotions wanted."""
        for row in self.everything():
            if self.emotions is None or row.emotion in self.emotions:
                yield row

    def everything(self) -> Iterable[Row]:
        """One row per utterance of any emotion."""
        raise NotImplementedError

    def beneath(self, folder: Path) -> Iterator[Path]:
        """Recordings in a folder and those inside it, sorted; other files are counted as passed over."""
        for path in sorted(folder.rglob("*")):
            if path.name.startswith(".") or path.is_dir():
                continue
            if path.suffix.lower() in RECORDINGS:
                yield path
            elif path.suffix.lower() not in (".txt", ".csv", ".md", ".lab"):
                self.passed_over[path.suffix.lower() or "without a suffix"] += 1

    def inside(self, path: Path) -> str:
        """The path of a file as rows have it."""
        return path.relative_to(self.folder).as_posix()
