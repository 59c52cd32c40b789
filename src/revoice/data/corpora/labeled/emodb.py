"""EmoDB, the Berlin database of emotional speech (Burkhardt et al., Interspeech 2005): ten actors, ten sentences."""

import re
from collections.abc import Iterator

from revoice.data.corpora.base import CORPORA
from revoice.data.corpora.labeled.emotional import Emotional
from revoice.data.corpora.manifest import Row

WOMEN = ("08", "09", "13", "14", "16")
_NAME = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z]?)")


@CORPORA.register("emodb")
class EmoDB(Emotional):
    """Reads `wav/SPEAKER SENTENCE EMOTION VERSION.wav` without the spaces, e.g. `wav/03a01Fa.wav`. German.

    Args:
        root: the corpus folder.
        emotions: which to read of neutral, happy, sad, angry, bored, disgusted, fearful; None: all.
    """

    title = "EmoDB"
    where_to_get = "get it from emodb.bilderbar.info"
    layout = "wav/03a01Fa.wav"
    words = {
        "N": "neutral", "F": "happy", "T": "sad", "W": "angry", "L": "bored", "E": "disgusted", "A": "fearful",
    }  # fmt: skip

    def everything(self) -> Iterator[Row]:
        """One row per recording whose name is made as the corpus makes them."""
        audio = self.root / "wav"
        for path in self.beneath(audio if audio.is_dir() else self.root):
            parts = _NAME.fullmatch(path.stem)
            if parts is None:
                self.passed_over["with another name"] += 1
                continue
            speaker, sentence, emotion, _ = parts.groups()
            yield Row(
                id=path.stem, path=self.inside(path), speaker=speaker, sentence=sentence,
                gender="F" if speaker in WOMEN else "M", emotion=self.words[emotion],
            )  # fmt: skip
