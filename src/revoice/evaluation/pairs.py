"""Which clips an evaluation converts, to which voices, and what each result is compared with."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError, choices

GROUPS = ("unseen", "seen")
TRAINING = ("train", "val")
_CHOICES = 2  # of references for each target voice, dealt to the sources in turn


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One conversion and all that is needed to judge it.

    The references and both enrolments are of sentences other than the source's, and no clip of the target is both
    reference and enrolment.

    Attributes:
        source: the clip to convert.
        references: clips of the target voice that the converter is given.
        true_target: the target voice saying the source's sentence, None if not recorded.
        enrol_target, enrol_source: clips that tell a verifier what the two voices sound like.
    """

    source: Row
    references: tuple[Row, ...]
    true_target: Row | None
    enrol_target: tuple[Row, ...]
    enrol_source: tuple[Row, ...]

    @property
    def target(self) -> str:
        """Name of the target voice."""
        return self.references[0].speaker

    @property
    def pair(self) -> tuple[str, str]:
        """Source and target voice."""
        return self.source.speaker, self.target

    @property
    def same_gender(self) -> bool | None:
        """None if a gender is unknown."""
        a, b = self.source.gender, self.references[0].gender
        return a == b if a and b else None


def said(row: Row) -> str:
    """What is said: rows with equal values must not be each other's reference. Unknown words count as unique."""
    return row.sentence or (row.text or "").strip().lower() or f"clip {row.id}"


def pick_trials(
    manifest: Manifest,
    group: str,
    *,
    speakers: int = 8,
    sentences_per_pair: int = 1,
    references: int = 1,
    enrolment: int = 8,
    seed: int = 0,
) -> list[Trial]:
    """All ordered pairs of some voices, on sentences that training never saw.

    Both directions of a pair say the same sentences, so that each recording serves as a source and as a true target.

    Args:
        manifest: with splits.
        group: "unseen" (voices of split test_unseen) or "seen" (voices of split test_seen, which were trained on).
        speakers: number of voices, half of each gender where there are enough; fewer if the corpus has fewer.
        sentences_per_pair: sentences of each ordered pair; fewer if a voice has fewer.
        references: clips given to the converter in each trial.
        enrolment: most clips that make a voice's enrolment.
        seed: of the choice of references and enrolments; equal on every machine.

    Raises:
        UserError: the corpus cannot give two such voices; the message says what it lacks.
    """
    if group not in GROUPS:
        raise choices(group, GROUPS, "group of test voices")
    if speakers < 2:
        raise UserError(f"speakers={speakers}: a pair needs two voices, expected speakers=2 or more")
    voices = _balanced(_voices(manifest, group, needed=references + 2), speakers)
    trials = []
    for a, b in permutations(range(len(voices)), 2):
        unordered = max(a, b) * (max(a, b) - 1) // 2 + min(a, b)
        source, target = voices[a], voices[b]
        for sentence in _rotated(source, target, unordered * sentences_per_pair)[:sentences_per_pair]:
            row = source.tests[sentence]
            # one of a few choices of references per voice: what a system makes of them, it makes a few times only
            given = target.other_clips(sentence, f"{seed}/{a % _CHOICES}")[:references]
            enrolling = [clip for clip in target.other_clips(sentence, str(seed)) if clip not in given]
            trial = Trial(
                source=row,
                references=tuple(given),
                true_target=target.tests.get(sentence),
                enrol_target=tuple(enrolling[:enrolment]),
                enrol_source=tuple(source.other_clips(sentence, str(seed))[:enrolment]),
            )
            trials.append(trial)
    return trials


@dataclass(frozen=True)
class _Voice:
    """A voice that can take part: its clips by sentence, and those of them that may be converted."""

    name: str
    clips: dict[str, Row]
    tests: dict[str, Row]

    @property
    def gender(self) -> str | None:
        return next(iter(self.clips.values())).gender

    def other_clips(self, sentence: str, key: str) -> list[Row]:
        """Clips of other sentences, test clips first, each part in an order of chance that `key` settles."""

        def order(row: Row) -> tuple[bool, str]:
            return row.split in TRAINING, hashlib.sha256(f"{key}/{row.id}".encode()).hexdigest()

        return sorted((row for words, row in self.clips.items() if words != sentence), key=order)


def _voices(manifest: Manifest, group: str, needed: int) -> list[_Voice]:
    """The group's voices with `needed` or more sentences, at least one of them outside training.

    Seen voices may lend training clips as references and enrolments.
    """
    test = f"test_{group}"
    trained = {said(row) for row in manifest if row.split in TRAINING}
    names = sorted({row.speaker for row in manifest if row.split == test})
    voices = {name: _Voice(name, {}, {}) for name in names}
    for split in (test, *(TRAINING if group == "seen" else ())):
        for row in manifest.select(split):
            if row.speaker in voices:
                voices[row.speaker].clips.setdefault(said(row), row)
                if split == test and said(row) not in trained:
                    voices[row.speaker].tests.setdefault(said(row), row)
    rich = [voice for voice in voices.values() if len(voice.clips) >= needed]
    usable = [voice for voice in rich if voice.tests]
    if len(usable) < 2:
        raise UserError(
            f"corpus '{manifest.corpus}', {group} voices: {len(names)} in split {test}, {len(rich)} of them with "
            f"{needed} or more sentences, {len(usable)} of these with a sentence that training never saw; expected "
            "2 or more of the last: choose a larger part of the corpus, or a split with more test voices and sentences"
        )
    return usable


def _balanced(voices: Sequence[_Voice], count: int) -> list[_Voice]:
    """`count` voices, evenly spaced in the sorted list of each gender, as many of each gender as there are."""
    women = [voice for voice in voices if voice.gender == "F"]
    others = [voice for voice in voices if voice.gender != "F"]
    first = min(len(women), max(count // 2, count - len(others)))
    second = min(len(others), count - first)
    return sorted(_spaced(women, first) + _spaced(others, second), key=lambda voice: voice.name)


def _spaced(voices: Sequence[_Voice], count: int) -> list[_Voice]:
    return [voices[i * len(voices) // count] for i in range(count)]


def _rotated(source: _Voice, target: _Voice, start: int) -> list[str]:
    """Sentences of the source, those that the target says too if there are any, beginning elsewhere for each pair."""
    sentences = sorted(set(source.tests) & set(target.tests)) or sorted(source.tests)
    return [sentences[(start + i) % len(sentences)] for i in range(len(sentences))]
