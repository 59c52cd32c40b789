"""CREMA-D (Cao et al., IEEE Transactions on Affective Computing 2014): 91 actors, twelve sentences, six emotions."""

from collections.abc import Iterator

from revoice.data.corpora.base import CORPORA, gender_of, read_text, sentence_id
from revoice.data.corpora.labeled.emotional import Emotional
from revoice.data.corpora.manifest import Row

SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}


@CORPORA.register("crema_d")
class CremaD(Emotional):
    """Reads `AudioWAV/ACTOR_SENTENCE_EMOTION_LEVEL.wav` and the genders of `VideoDemographics.csv`.

    Args:
        root: the corpus folder.
        emotions: which to read of neutral, happy, sad, angry, fearful, disgusted; None: all.
    """

    title = "CREMA-D"
    accent = "en-us"
    where_to_get = "get it from github.com/CheyneyComputerScience/CREMA-D (git lfs)"
    layout = "AudioWAV/1001_DFA_ANG_XX.wav and VideoDemographics.csv"
    words = {
        "NEU": "neutral", "HAP": "happy", "SAD": "sad", "ANG": "angry", "FEA": "fearful", "DIS": "disgusted",
    }  # fmt: skip

    def everything(self) -> Iterator[Row]:
        """One row per recording whose name is made as the corpus makes them."""
        genders = self.genders()
        audio = self.root / "AudioWAV"
        for path in self.beneath(audio if audio.is_dir() else self.root):
            parts = path.stem.split("_")
            if len(parts) != 4 or parts[2] not in self.words:
                self.passed_over["with another name"] += 1
                continue
            actor, sentence, emotion, _ = parts
            text = SENTENCES.get(sentence)
            yield Row(
                id=path.stem, path=self.inside(path), speaker=actor, text=text,
                sentence=sentence_id(text) if text else sentence,
                gender=genders.get(actor), emotion=self.words[emotion],
            )  # fmt: skip

    def genders(self) -> dict[str, str | None]:
        """Actor -> gender, from the table beside the recordings."""
        lines = (read_text(self.root / "VideoDemographics.csv") or "").splitlines()
        columns = [[value.strip().strip('"') for value in line.split(",")] for line in lines]
        return {c[0]: gender_of(c[2]) for c in columns if len(c) > 2 and c[0].isdigit()}
