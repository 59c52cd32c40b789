"""How many phones a recognizer gets wrong, on recordings of which it is known what they say."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import AfterValidator, BeforeValidator, Field

from revoice.atomic import REPORT, claim, sums_of
from revoice.audio.features import extract
from revoice.audio.io import AudioError, resample
from revoice.audio.pitch import pitch_for
from revoice.checkpoint.load import Loaded
from revoice.data.corpora.espeak.say import spoken
from revoice.data.corpora.manifest import SPLITS, Manifest, Row
from revoice.data.fields.clip import Clip, load_clip
from revoice.data.prepare.progress import Progress
from revoice.errors import UserError, choices
from revoice.evaluation.bootstrap import interval
from revoice.evaluation.report import write_metrics
from revoice.foreign import write_csv
from revoice.models.phones import Recognizer
from revoice.nn.edits import edits
from revoice.settings import Count, Word, one_or_more, settings
from revoice.vocoders.base import Vocoder

log = logging.getLogger(__name__)
FILES = ("clips.csv",)  # beside `metrics.json`


def _known(split: str) -> str:
    if split not in SPLITS:
        raise choices(split, SPLITS, "split (evaluation.splits)")
    return split


Splits = Annotated[
    tuple[Annotated[Word, AfterValidator(_known)], ...], Field(min_length=1), BeforeValidator(one_or_more)
]


@settings
class PhoneProtocol:
    """Which recordings are heard, and what they are held to say.

    Attributes:
        splits: of the corpus.
        sentences: only those that nobody is trained on.
        accent: of espeak-ng, which reads the text of recordings that come without phones.
        limit: clips at most, evenly spaced; None: all.
    """

    splits: Splits = ("test_unseen",)
    sentences: Literal["all", "unseen"] = "all"
    accent: Word = "en-us"
    limit: Count | None = None


@dataclass(frozen=True)
class Heard:
    """One clip: the phones that it says, those that are heard, and those that are heard in a copy by a vocoder."""

    row: Row
    said: list[str]
    heard: list[str]
    copy: list[str] | None = None


@dataclass(frozen=True)
class PhoneErrors:
    """What came of it.

    Attributes:
        clips: one by one.
        seconds: of all clips together.
    """

    clips: list[Heard]
    seconds: float
    unusable: dict[str, str] = field(default_factory=dict)

    def summary(self, seed: int = 0) -> dict[str, Any]:
        """Error rates with 95 % intervals (speakers are drawn) and counts.

        per: against what is said.  copy_per: likewise, of the copies.  copy_change: the copies against what is heard
        in the originals. Each is nan where there are no phones.
        """
        found: dict[str, Any] = {
            "clips": len(self.clips), "speakers": len({clip.row.speaker for clip in self.clips}),
            "phones": sum(len(clip.said) for clip in self.clips), "seconds": round(self.seconds, 1),
        }  # fmt: skip
        found |= self._rate("per", [(c, edits(c.said, c.heard), len(c.said)) for c in self.clips], seed)
        copies = [(clip, clip.copy) for clip in self.clips if clip.copy is not None]
        if copies:
            found |= self._rate("copy_per", [(c, edits(c.said, copy), len(c.said)) for c, copy in copies], seed)
            found |= self._rate("copy_change", [(c, edits(c.heard, copy), len(c.heard)) for c, copy in copies], seed)
        return found

    @staticmethod
    def _rate(name: str, counts: Sequence[tuple[Heard, int, int]], seed: int) -> dict[str, Any]:
        wrong, total = sum(w for _, w, _ in counts), sum(n for _, _, n in counts)
        used = [(clip, w, n) for clip, w, n in counts if n]
        values, weights = [w / n for _, w, n in used], [float(n) for _, _, n in used]
        between = interval(values, [clip.row.speaker for clip, _, _ in used], weights, seed)
        known = {name: round(wrong / total, 4) if total else float("nan")}
        return known | ({f"{name}_95": [round(v, 4) for v in between]} if between else {})


def phone_errors(
    loaded: Loaded,
    manifest: Manifest,
    protocol: PhoneProtocol,
    vocoder: Vocoder | None = None,
    progress: bool = True,
) -> PhoneErrors:
    """Let a recognizer hear the recordings of a corpus.

    Args:
        loaded: the recognizer.
        manifest: of the corpus, with splits.
        protocol: which recordings.
        vocoder: copies through its features are heard too.
        progress: whether a bar is shown.

    Raises:
        UserError: no recognizer, or no recording of which it is known what is said and which can be heard.
    """
    rows = _chosen(manifest, protocol)
    said = phones_said(rows, protocol.accent)
    listen = listener(loaded)
    clips, seconds, unusable = [], 0.0, {}
    with Progress("hearing phones", len(rows), progress) as bar:
        for row, phones in zip(rows, said, strict=True):
            try:
                clip = load_clip(manifest.file(row), loaded.description.trim_db)
            except AudioError as error:
                unusable[row.path] = str(error)
                continue
            copy = listen(*_copy(clip, vocoder)) if vocoder else None
            clips.append(Heard(row, phones, listen(clip.audio.samples, clip.audio.sample_rate), copy))
            seconds += clip.audio.seconds
            bar.advance(1, clip.audio.seconds)
    for path, why in unusable.items():
        log.warning("passed over: %s: %s", path, why)
    if not clips:
        raise UserError(
            f"none of {len(rows)} recordings of {manifest.corpus} can be heard: {next(iter(unusable.values()))}"
        )
    return PhoneErrors(clips, seconds, unusable)


def listener(loaded: Loaded) -> Callable[[np.ndarray, int], list[str]]:
    """A function of samples (S,) and their rate that gives the names of the phones heard."""
    model = loaded.model
    if not isinstance(model, Recognizer):
        raise UserError(f"{loaded.path} holds the model {loaded.description.model}, not a recognizer of phones")

    def listen(samples: np.ndarray, rate: int) -> list[str]:
        log_mel = extract(resample(samples, rate, loaded.spec.sample_rate), loaded.spec)
        return model.transcribe(log_mel[None].to(next(model.parameters()).device))[0]

    return listen


def _chosen(manifest: Manifest, protocol: PhoneProtocol) -> list[Row]:
    taught = {row.sentence for row in manifest.select("train", "val")} if protocol.sentences == "unseen" else set()
    rows = [row for row in manifest.select(*protocol.splits) if row.phones or row.text]
    rows = [row for row in rows if row.sentence not in taught]
    if not rows:
        raise UserError(
            f"none of the {len(manifest)} recordings of {manifest.corpus} is of evaluation.splits="
            f"{list(protocol.splits)}, says what is asked for, and has a text"
        )
    count = min(protocol.limit or len(rows), len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]


def phones_said(rows: Sequence[Row], accent: str) -> list[list[str]]:
    """The phones of each row, in the names of the recognizer: those of the corpus, or as espeak-ng reads the text."""
    lacking = [row for row in rows if row.phones is None]
    read: Mapping[str, Any] = {}
    if lacking:
        read = dict(zip([row.id for row in lacking], spoken([row.text or "" for row in lacking], accent), strict=True))
    events = [row.phones if row.phones is not None else read[row.id] for row in rows]
    return [Recognizer.from_espeak([name for name, _ in each]) for each in events]


@torch.no_grad()
def _copy(clip: Clip, vocoder: Vocoder) -> tuple[np.ndarray, int]:
    spec = vocoder.spec
    samples = clip.at(spec.sample_rate)
    f0 = torch.from_numpy(pitch_for(samples, spec).f0).float()
    return vocoder(extract(samples, spec)[None], f0[None])[0].numpy(), spec.sample_rate


def save(found: PhoneErrors, name: str, about: Mapping[str, Any], out: Path, seed: int) -> dict[str, Any]:
    """Leave `metrics.json` (for `revoice-export facts=`) and `clips.csv`; returns the summary."""
    summary = found.summary(seed)
    lines = [
        [clip.row.id, clip.row.speaker, *(" ".join(p or []) for p in (clip.said, clip.heard, clip.copy))]
        for clip in found.clips
    ]
    claim(out)
    write_csv(out / "clips.csv", [["id", "speaker", "said", "heard", "copy"], *lines])
    write_metrics(out / REPORT, {"phone_error": {name: summary}, **about, **sums_of(out, FILES)})
    return summary
