"""Which voices of a corpus systems were trained on, by what their checkpoints say: who is unseen, and who is seen."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from revoice.checkpoint.description import Description
from revoice.data.corpora.manifest import Manifest

SAME_READERS = {"libritts": "librispeech"}  # corpora that name the same people alike
ANYBODY = "folder"  # recordings of whoever it may be, perhaps those of another corpus
_SHOWN = 5


@dataclass(frozen=True)
class TrainingVoices:
    """Names of voices of a corpus that systems were trained on.

    Attributes:
        some: voices that one system was trained on at least, or may have been.
        every: voices that all systems were trained on which were trained on voices.
    """

    some: frozenset[str] = frozenset()
    every: frozenset[str] = frozenset()


def training_voices(systems: Iterable[Description], manifest: Manifest) -> TrainingVoices:
    """Compare voices by corpus and name: an equal name in another corpus is somebody else's.

    Where a checkpoint does not tell its corpus, and where one reads a folder of recordings, the name alone decides. In
    a mixture a voice may carry its corpus's name in front (`revoice.data.read.mixture.told_apart`): then it may be the
    one that is called so. Voices of checkpoints that one was started from, or stands on, count as its own.
    """
    found = [_known(heard, manifest) for about in systems if (heard := about.heard)]
    if not found:
        return TrainingVoices()
    return TrainingVoices(
        frozenset().union(*(some for some, _ in found)), frozenset.intersection(*(sure for _, sure in found))
    )


def sorted_out(manifest: Manifest, known: TrainingVoices) -> tuple[Manifest, dict[str, str]]:
    """The corpus whose test voices are what their splits call them, and by group what had to go for that.

    A corpus without a voice that anybody was trained on is unseen as a whole.
    """
    if not known.some:
        return manifest.with_rows(replace(row, split="test_unseen") for row in manifest), {}
    unseen = {row.speaker for row in manifest.select("test_unseen")} & known.some
    seen = {row.speaker for row in manifest.select("test_seen")} - known.every
    notes = {}
    if unseen:
        notes["unseen"] = f"unseen: {_listed(unseen)} of split test_unseen that a system was trained on"
    if seen:
        notes["seen"] = f"seen: {_listed(seen)} of split test_seen that not every system was trained on"
    gone = {"test_unseen": unseen, "test_seen": seen}
    return manifest.with_rows(row for row in manifest if row.speaker not in gone.get(row.split, ())), notes


def doubts(unseen: Collection[str], seen: Collection[str], known: TrainingVoices) -> tuple[str, ...]:
    """What is wrong with the groups that somebody else put voices into."""
    found = []
    if wrong := known.some & set(unseen):
        found.append(f"a system was trained on {_listed(wrong)} that the protocol calls unseen")
    if other := set(seen) - known.every:
        found.append(f"not every system was trained on {_listed(other)} that the protocol calls seen")
    return tuple(found)


def _known(heard: Mapping[str, list[str]], manifest: Manifest) -> tuple[frozenset[str], frozenset[str]]:
    """Voices of the corpus that one system may have been trained on, and those that it was."""
    here, voices = _corpora(manifest.corpus), manifest.speakers
    some, sure = set[str](), set[str]()
    for corpus, trained in heard.items():
        there = _corpora(corpus) if corpus else []
        if there and not set(here) & set(there) and ANYBODY not in (*here, *there):
            continue
        names = set(trained)
        ends = {end for name in names for end in _ends(name)} if len(there) > 1 else set()
        sure |= names.intersection(voices)
        some |= {voice for voice in voices if voice in ends or (len(here) > 1 and not names.isdisjoint(_ends(voice)))}
    return frozenset(some | sure), frozenset(sure)


def _corpora(named: str) -> list[str]:
    return [SAME_READERS.get(name, name) for name in named.split("+")]


def _ends(name: str) -> Iterator[str]:
    """What is left of a name without what may be the name of a corpus."""
    while "-" in name:
        name = name.split("-", 1)[1]
        yield name


def _listed(voices: Collection[str]) -> str:
    shown = ", ".join(sorted(voices)[:_SHOWN]) + (", ..." if len(voices) > _SHOWN else "")
    return f"{len(voices)} voice{'s' if len(voices) > 1 else ''} ({shown})"
