"""LibriSpeech and LibriTTS, corpora laid out as subset/speaker/chapter."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from revoice.data.corpora.base import CORPORA, Corpus, gender_of, read_text, sentence_id, visible
from revoice.data.corpora.manifest import Row
from revoice.errors import choices
from revoice.settings import Place, Words

SUBSETS = (
    *("train-clean-100", "train-clean-360", "train-other-500"),
    *("dev-clean", "dev-other", "test-clean", "test-other"),
)


@CORPORA.register("librispeech")
class LibriSpeech(Corpus):
    """Reads `SUBSET/SPEAKER/CHAPTER/*.flac`, `*.trans.txt` where present, and the genders of `SPEAKERS.TXT`.

    Args:
        root: the corpus folder or its parent.
        subsets: names of subsets to read; None or empty reads all that are there.
    """

    title = "LibriSpeech"
    accent = "en-us"
    where_to_get = "get it from OpenSLR 12 (openslr.org/12)"
    layout = "LibriSpeech/train-clean-100/SPEAKER/CHAPTER/*.flac and LibriSpeech/SPEAKERS.TXT"
    inside: ClassVar[tuple[str, ...]] = ("LibriSpeech",)
    suffixes: ClassVar[tuple[str, ...]] = (".flac", ".wav")

    def __init__(self, root: Place | None, subsets: Words | None = None) -> None:
        super().__init__(root)
        self.subsets = list(subsets or ())

    @cached_property
    def folder(self) -> Path:
        """The root, or the corpus folder inside it."""
        candidates = (self.root, *(self.root / name for name in self.inside))
        return next((path for path in candidates if any((path / name).is_dir() for name in SUBSETS)), self.root)

    def rows(self) -> Iterator[Row]:
        """One row per utterance of the chosen subsets."""
        genders = self.genders()
        for subset in self.chosen():
            for speaker in visible(self.folder / subset):
                for chapter in visible(speaker):
                    yield from self.chapter(chapter, genders.get(speaker.name))

    def chosen(self) -> list[str]:
        """The subsets to read; one that is not there is a `UserError`."""
        present = [name for name in SUBSETS if (self.folder / name).is_dir()]
        for name in self.subsets:
            if present and name not in present:
                raise choices(name, present, f"subset of {self.folder}")
        return self.subsets or present

    def chapter(self, folder: Path, gender: str | None) -> Iterator[Row]:
        """The rows of one chapter of one speaker."""
        texts = self.texts(folder)
        for path in visible(folder, self.suffixes):
            text = texts.get(path.stem)
            yield Row(
                id=path.stem,
                path=path.relative_to(self.folder).as_posix(),
                speaker=folder.parent.name,
                sentence=sentence_id(text),
                text=text,
                gender=gender,
            )

    def texts(self, chapter: Path) -> dict[str, str]:
        """Utterance id -> words of a chapter."""
        lines = (read_text(chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt") or "").splitlines()
        return {name: text for name, _, text in (line.partition(" ") for line in lines)}

    def genders(self) -> dict[str, str | None]:
        """Speaker -> gender, from the pipe-separated SPEAKERS.TXT."""
        lines: Iterable[str] = (read_text(self._speakers_file()) or "").splitlines()
        columns = (line.split("|") for line in lines if not line.startswith(";"))
        return {c[0].strip(): gender_of(c[1]) for c in columns if len(c) > 1}

    def _speakers_file(self) -> Path:
        names = (self.folder / "SPEAKERS.TXT", self.folder / "SPEAKERS.txt")
        return next((path for path in names if path.exists()), names[0])


@CORPORA.register("libritts")
class LibriTTS(LibriSpeech):
    """Reads `SUBSET/SPEAKER/CHAPTER/*.wav` with `*.normalized.txt` beside it, and the genders of `speakers.tsv`.

    Args:
        root: the corpus folder or its parent.
        subsets: names of subsets to read; None or empty reads all that are there.
    """

    title = "LibriTTS"
    where_to_get = "get it from OpenSLR 60 (openslr.org/60)"
    layout = "LibriTTS/train-clean-100/SPEAKER/CHAPTER/*.wav with *.normalized.txt, and LibriTTS/speakers.tsv"
    inside = ("LibriTTS", "LibriTTS_R")

    def texts(self, chapter: Path) -> dict[str, str]:
        """Utterance id -> words of a chapter."""
        texts = {path.name.removesuffix(".normalized.txt"): read_text(path) for path in visible(chapter, (".txt",))}
        return {name: text for name, text in texts.items() if text and not name.endswith(".txt")}

    def genders(self) -> dict[str, str | None]:
        """Speaker -> gender, from the tab-separated speakers.tsv (else from SPEAKERS.txt)."""
        lines = (read_text(self.folder / "speakers.tsv") or "").splitlines()
        columns = (line.split("\t") for line in lines)
        return {c[0].strip(): gender_of(c[1]) for c in columns if len(c) > 1} or super().genders()
