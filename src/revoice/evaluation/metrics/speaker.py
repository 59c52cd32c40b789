"""Similarity to the target's and the source's voice."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revoice.audio.io import Audio, read_audio
from revoice.data.corpora.manifest import Manifest, Row
from revoice.evaluation.eer import equal_error
from revoice.evaluation.metrics.base import METRICS, Column, Metric, Result, Values
from revoice.evaluation.pairs import Trial
from revoice.evaluation.verification import Verifier, enrol, judge
from revoice.evaluation.voice_map import VoiceMap


@METRICS.register("speaker")
class SpeakerSimilarity(Metric):
    """Cosine of each conversion to the enrolled target and source voices.

    Args:
        verifier: the judge.
        manifest: where the enrolment clips are.
        prefix: put before every key and title, to set a second verifier's numbers apart.
    """

    def __init__(self, verifier: Verifier, manifest: Manifest, prefix: str = "") -> None:
        self.verifier = verifier
        self.manifest = manifest
        self.prefix = prefix
        self.columns = _columns(prefix, verifier.name)
        self._known: dict[str, NDArray[np.float32]] = {}
        self.begin()

    def begin(self) -> None:
        """See `Metric`."""
        self._converted: dict[int, NDArray[np.float32]] = {}  # by the identity of trials
        self._vocoded: dict[str, NDArray[np.float32]] = {}  # true targets, by row id

    def start(self, results: Sequence[Result]) -> Callable[[], list[Values]]:
        """Embeds when waited for, while worker processes of other metrics go on."""
        return lambda: self._measure(results)

    def _measure(self, results: Sequence[Result]) -> list[Values]:
        self._learn(results)
        converted = self._embed([result.converted for result in results])
        self._converted |= {id(result.trial): clip for result, clip in zip(results, converted, strict=True)}
        ceilings = {r.trial.true_target.id: r.ceiling for r in results if r.trial.true_target and r.ceiling}
        new = {key: clip for key, clip in ceilings.items() if key not in self._vocoded}
        self._vocoded |= zip(new, self._embed(list(new.values())), strict=True)
        return [self._values(result.trial, clip) for result, clip in zip(results, converted, strict=True)]

    def _learn(self, results: Sequence[Result]) -> None:
        """Embed the recordings that are not known yet, each once, reading enrolment clips a few at a time."""
        wanted: dict[str, Audio | Path] = {}
        for result in results:
            trial = result.trial
            wanted |= {row.id: self.manifest.file(row) for row in (*trial.enrol_target, *trial.enrol_source)}
        wanted |= {result.trial.source.id: result.source for result in results}
        new = [(key, clip) for key, clip in wanted.items() if key not in self._known]
        for at in range(0, len(new), 64):
            clips = [clip if isinstance(clip, Audio) else read_audio(clip) for _, clip in new[at : at + 64]]
            self._known |= zip([key for key, _ in new[at : at + 64]], self._embed(clips), strict=True)

    def _embed(self, clips: list[Audio]) -> NDArray[np.float32]:
        return self.verifier.embed(clips) if clips else np.zeros((0, 1), np.float32)

    def _voice(self, rows: Iterable[Row]) -> NDArray[np.float32]:
        return enrol(np.stack([self._known[row.id] for row in rows]))

    def _values(self, trial: Trial, clip: NDArray[np.float32]) -> Values:
        target, source = self._voice(trial.enrol_target), self._voice(trial.enrol_source)
        verdict = judge(clip, target, source)
        ceiling = self._vocoded.get(trial.true_target.id) if trial.true_target else None
        values = {
            "cosine_target": verdict.cosine_target,
            "cosine_source": verdict.cosine_source,
            "closer_to_target": float(verdict.closer_to_target),
            "cosine_unconverted": float(self._known[trial.source.id] @ target),
            "cosine_own": float(self._known[trial.source.id] @ source),
            "cosine_ceiling": np.nan if ceiling is None else float(ceiling @ target),
        }
        return {self.prefix + key: value for key, value in values.items()}

    def facts(self, records: Sequence[Mapping[str, Any]], seed: int = 0) -> dict[str, Any]:
        """Who judged, and how well it tells the true recordings apart: its equal error rate on their untouched sources.

        Mated trials: a source against other clips of its voice; the others: against the clips of the target.
        """
        mated: dict[tuple[str, str], tuple[float, tuple[str, str]]] = {}
        others: dict[tuple[str, str], tuple[float, tuple[str, str]]] = {}
        for record in records:
            if math.isfinite(own := record.get(f"{self.prefix}cosine_own", math.nan)):
                voice, target = record["source_speaker"], record["target_speaker"]
                mated[record["source"], voice] = own, (voice, voice)
                others[record["source"], target] = record[f"{self.prefix}cosine_unconverted"], (target, voice)
        both = [*mated.values(), *others.values()]
        same = [True] * len(mated) + [False] * len(others)
        found = equal_error([score for score, _ in both], same, [pair for _, pair in both], seed)
        return {
            "name": self.verifier.name, "weights": self.verifier.weights, "equal_error_rate": found.rate,
            "ci": list(found.interval) if found.interval else None, "mated": found.mated, "nonmated": found.nonmated,
        }  # fmt: skip

    def places(self, trials: Sequence[Trial]) -> VoiceMap:
        """Embeddings of the recordings and of the system's conversions, for the map of the report."""
        rows = {row.id: row for t in trials for row in (t.source, *t.enrol_target, *t.enrol_source)}
        known = {key: row for key, row in rows.items() if key in self._known}
        there = [trial for trial in trials if id(trial) in self._converted]
        return VoiceMap(
            real=[self._known[key] for key in known],
            speakers=[row.speaker for row in known.values()],
            converted=[self._converted[id(trial)] for trial in there],
            targets=[trial.target for trial in there],
        )


def _columns(prefix: str, verifier: str) -> tuple[Column, ...]:
    title = f" ({verifier})" if prefix else ""
    return (
        Column(
            key=f"{prefix}cosine_target",
            title=f"Cosine to the target voice{title}",
            explain=f"Similarity of the converted clip to the target's voice by {verifier}; higher is better.",
            better="higher",
            floor=f"{prefix}cosine_unconverted",
            ceiling=f"{prefix}cosine_ceiling",
        ),
        Column(
            key=f"{prefix}cosine_source",
            title=f"Cosine to the source voice{title}",
            explain=f"Similarity of the converted clip to the source's voice by {verifier}; lower is better.",
            better="lower",
        ),
        Column(
            key=f"{prefix}closer_to_target",
            title=f"Closer to the target{title}",
            explain="Share of conversions more similar to the target's voice than to the source's; higher is better.",
            share=True,
            better="higher",
            if_failed=0.0,
        ),
        Column(key=f"{prefix}cosine_own", title=f"Cosine of the unconverted source to its own voice{title}"),
        Column(key=f"{prefix}cosine_unconverted", title=f"Cosine of the unconverted source to the target{title}"),
        Column(key=f"{prefix}cosine_ceiling", title=f"Cosine of the resynthesized true target to the target{title}"),
    )
