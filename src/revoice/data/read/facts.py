"""What a run tells people, and its checkpoint, about its data."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

from revoice.data.corpora.manifest import Manifest
from revoice.settings import Natural, NotNegative, Word, settings


class _Prepared(Protocol):
    @property
    def manifest(self) -> Manifest: ...

    @property
    def rejected(self) -> Sequence[object]: ...


@settings
class Facts:
    """Counts of a prepared corpus.

    Attributes:
        corpus: its name.  manifest: digest of its manifest.
        utterances: all that are prepared.  train, validation: of these splits.  rejected: those left out.
        hours: of the training files.
    """

    corpus: Word
    manifest: Word
    utterances: Natural
    train: Natural
    validation: Natural
    rejected: Natural
    hours: NotNegative

    @classmethod
    def of(cls, prepared: _Prepared) -> "Facts":
        """The facts of what `prepare` returned."""
        manifest, train = prepared.manifest, prepared.manifest.select("train")
        return cls(
            corpus=manifest.corpus,
            manifest=manifest.digest(),
            utterances=len(manifest),
            train=len(train),
            validation=len(manifest.select("val")),
            rejected=len(prepared.rejected),
            hours=sum(row.seconds for row in train) / 3600,
        )


def merged_facts(facts: Sequence[Facts]) -> Facts:
    """The facts of several corpora together."""
    if len(facts) == 1:
        return facts[0]
    digest = hashlib.sha256("\n".join(f.manifest for f in facts).encode()).hexdigest()[:16]
    return Facts(
        corpus="+".join(f.corpus for f in facts),
        manifest=digest,
        utterances=sum(f.utterances for f in facts),
        train=sum(f.train for f in facts),
        validation=sum(f.validation for f in facts),
        rejected=sum(f.rejected for f in facts),
        hours=sum(f.hours for f in facts),
    )
