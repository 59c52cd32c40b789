"""LJSpeech: one reader, 24 hours of audiobooks."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from revoice.data.corpora.base import CORPORA, Corpus, read_text, sentence_id, visible
from revoice.data.corpora.manifest import Row

SPEAKER = "LJ"


@CORPORA.register("ljspeech")
class LJSpeech(Corpus):
    """Reads `wavs/LJ001-0001.wav` and `metadata.csv`, whose lines are ID|as written|as spoken.

    The words are those as spoken, with numbers and abbreviations written out, where the table has them. All is of
    one speaker: vocoders learn from it, and models that need no other voice.

    Args:
        root: the corpus folder, or the folder that holds `LJSpeech-1.1`.
    """

    title = "LJSpeech"
    accent = "en-us"
    where_to_get = "get 'The LJ Speech Dataset' 1.1 from keithito.com"
    layout = "LJSpeech-1.1/wavs/LJ001-0001.wav and LJSpeech-1.1/metadata.csv"

    @cached_property
    def folder(self) -> Path:
        """The root, or the release's folder inside it."""
        inside = self.root / "LJSpeech-1.1"
        return inside if (inside / "wavs").is_dir() else self.root

    def rows(self) -> Iterator[Row]:
        """One row per recording."""
        texts = self.texts()
        for path in visible(self.folder / "wavs", (".wav", ".flac")):
            text = texts.get(path.stem)
            yield Row(
                id=path.stem,
                path=path.relative_to(self.folder).as_posix(),
                speaker=SPEAKER,
                sentence=sentence_id(text),
                text=text,
                gender="F",
            )

    def texts(self) -> dict[str, str]:
        """Recording -> its words; the table quotes nothing, a mark of quotation is one."""
        lines = (line.split("|") for line in (read_text(self.folder / "metadata.csv") or "").splitlines())
        return {columns[0].strip(): columns[-1] or columns[1] for columns in lines if len(columns) > 1}
