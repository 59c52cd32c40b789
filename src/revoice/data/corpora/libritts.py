"""LibriTTS and LibriTTS-R."""

from pathlib import Path

from revoice.data.corpora.base import CORPORA, gender_of, read_text, visible
from revoice.data.corpora.librispeech import LibriSpeech


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
