"""Which voices and sentences of a corpus systems were trained on, as their checkpoints say: who is unseen, who seen."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from revoice.checkpoint.description import Description, unpacked
from revoice.data.corpora.manifest import Manifest, Row
from revoice.data.corpora.splits import mark
from revoice.evaluation.pairs import Trial

SAME_READERS = {"libritts": "librispeech"}  # corpora that name the same people alike
ANYBODY = "folder"  # recordings of whoever it may be, perhaps those of another corpus
_SHOWN = 5


@dataclass(frozen=True)
class TrainingVoices:
    """Names of voices of a corpus that systems were trained on, and what was said.

    Attributes:
        some: voices that one system was trained on at least, or may have been.
        every: voices that all systems were trained on which were trained on voices.
        sentences: marks of the sentences that one system at least was trained on, of those that tell.
    """

    some: frozenset[str] = frozenset()
    every: frozenset[str] = frozenset()
    sentences: frozenset[str] = frozenset()

    def taught(self, row: Row) -> bool:
        """Whether a system was trained on what the row says."""
        return bool(self.sentences) and mark(row) in self.sentences


def training_voices(systems: Iterable[Description], manifest: Manifest) -> TrainingVoices:
    """Compare voices by corpus and name: an equal name in another corpus is somebody else's.

    Where a checkpoint does not tell its corpus, and where one reads a folder of recordings, the name alone decides. In
    a mixture a voice may carry its corpus's name in front (`revoice.data.read.mixture.told_apart`): then it may be the
    one that is called so. Voices and sentences of checkpoints that one was started from, or stands on, count as its
    own. Checkpoints of earlier versions, and of streams without their corpus, do not tell their sentences.
    """
    systems = list(systems)
    found = [_known(heard, manifest) for about in systems if (heard := about.heard)]
    if not found:
        return TrainingVoices()
    sentences = frozenset(
        name
        for about in systems
        for corpus, strings in about.sentences.items()
        if _may_be_same(corpus, manifest.corpus)
        for name in unpacked(strings)
    )
    some, every = frozenset().union(*(some for some, _ in found)), frozenset.intersection(*(sure for _, sure in found))
    return TrainingVoices(some, every, sentences)


def sorted_out(manifest: Manifest, known: TrainingVoices) -> tuple[Manifest, dict[str, str]]:
    """The corpus whose test voices are what their splits call them, and by group what had to go for that.

    A corpus without a voice that anybody was trained on is unseen as a whole. Seen voices do not say what a system was
    trained on, whoever said it there.
    """
    if not known.some:
        return manifest.with_rows(replace(row, split="test_unseen") for row in manifest), {}
    unseen = {row.speaker for row in manifest.select("test_unseen")} & known.some
    seen = {row.speaker for row in manifest.select("test_seen")} - known.every
    said = [row for row in manifest.select("test_seen") if row.speaker not in seen]
    taught = {row.id for row in said if known.taught(row)}
    notes = {}
    if unseen:
        notes["unseen"] = f"unseen: {_listed(unseen)} of split test_unseen that a system was trained on"
    if seen or taught:
        voices = f"{_listed(seen)} of split test_seen that not every system was trained on"
        rows = f"{len(taught)} of {len(said)} recordings of split test_seen whose sentence a system was trained on"
        notes["seen"] = f"seen: {' and '.join([voices] * bool(seen) + [rows] * bool(taught))}"
    gone = {"test_unseen": unseen, "test_seen": seen}
    kept = (row for row in manifest if row.speaker not in gone.get(row.split, ()) and row.id not in taught)
    return manifest.with_rows(kept), notes


def doubts(unseen: Collection[str], seen: Collection[str], known: TrainingVoices) -> tuple[str, ...]:
    """What is wrong with the groups that somebody else put voices into."""
    found = []
    if wrong := known.some & set(unseen):
        found.append(f"a system was trained on {_listed(wrong)} that the protocol calls unseen")
    if other := set(seen) - known.every:
        found.append(f"not every system was trained on {_listed(other)} that the protocol calls seen")
    return tuple(found)


def taught_before(seen: Sequence[Trial], known: TrainingVoices) -> tuple[str, ...]:
    """What is wrong with trials that somebody else calls those of seen voices: a sentence is not unseen."""
    count = sum(any(row and known.taught(row) for row in (trial.source, trial.true_target)) for trial in seen)
    return (f"a system was trained on the sentences of {count} of {len(seen)} trials of seen voices",) if count else ()


def _known(heard: Mapping[str, list[str]], manifest: Manifest) -> tuple[frozenset[str], frozenset[str]]:
    """Voices of the corpus that one system may have been trained on, and those that it was."""
    here, voices = _corpora(manifest.corpus), manifest.speakers
    some, sure = set[str](), set[str]()
    for corpus, trained in heard.items():
        there = _corpora(corpus)
        if not _may_be_same(corpus, manifest.corpus):
            continue
        names = set(trained)
        ends = {end for name in names for end in _ends(name)} if len(there) > 1 else set()
        sure |= names.intersection(voices)
        some |= {voice for voice in voices if voice in ends or (len(here) > 1 and not names.isdisjoint(_ends(voice)))}
    return frozenset(some | sure), frozenset(sure)


def _may_be_same(one: str, other: str) -> bool:
    """Whether two corpora may have recordings in common."""
    here, there = _corpora(one), _corpora(other)
    return not here or not there or bool(set(here) & set(there)) or ANYBODY in (*here, *there)


def _corpora(named: str) -> list[str]:
    return [SAME_READERS.get(name, name) for name in named.split("+")] if named else []


def _ends(name: str) -> Iterator[str]:
    """What is left of a name without what may be the name of a corpus."""
    while "-" in name:
        name = name.split("-", 1)[1]
        yield name


def _listed(voices: Collection[str]) -> str:
    shown = ", ".join(sorted(voices)[:_SHOWN]) + (", ..." if len(voices) > _SHOWN else "")
    return f"{len(voices)} voice{'s' if len(voices) > 1 else ''} ({shown})"
