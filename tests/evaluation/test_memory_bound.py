"""An evaluation holds as much sound as it measures at once, and its numbers are those of all at once."""

import tempfile
import weakref
from typing import Any

import numpy as np
import pytest
from evaluation_helpers import RATE, Timbre, copy, speak
from recognizer_helpers import Bands

from revoice.audio.io import Audio
from revoice.data.corpora.manifest import Manifest
from revoice.errors import UserError
from revoice.evaluation import evaluate
from revoice.evaluation.evaluate import Evaluation, run
from revoice.evaluation.metrics.base import Metric
from revoice.evaluation.metrics.sound import Sound
from revoice.evaluation.metrics.speaker import SpeakerSimilarity
from revoice.evaluation.metrics.spectral import Spectral
from revoice.evaluation.metrics.words import Words
from revoice.evaluation.pairs import pick_trials
from revoice.evaluation.shelf import Shelf


class Living:
    """Counts sound that somebody still holds."""

    def __init__(self) -> None:
        self.born: list[weakref.ref] = []
        self.most = 0

    def see(self, clip: Audio) -> Audio:
        self.born.append(weakref.ref(clip.samples))
        self.most = max(self.most, sum(ref() is not None for ref in self.born))
        return clip


class Asks(Metric):
    """Counts what it is given at once."""

    columns = ()

    def __init__(self) -> None:
        self.given: list[int] = []

    def start(self, results):
        self.given.append(len(results))
        return lambda: [{} for _ in results]


def louder(requests: list) -> list[Audio]:
    """A system that fails twice."""
    return [
        Audio(np.zeros(9, np.float32), RATE) if len(request.source.samples) % 7 == 0 else
        Audio(0.5 * request.source.samples, RATE) for request in requests
    ]  # fmt: skip


def evaluated(corpus: Manifest, metrics: list[Metric]) -> list[Evaluation]:
    """Two systems one after the other, by the same metrics."""
    trials = {group: pick_trials(corpus, group, speakers=4) for group in ("unseen", "seen")}
    other = lambda requests: [Audio(request.references[0].samples, RATE) for request in requests]  # noqa: E731
    return [run(trials, say, vocode, corpus, metrics) for say, vocode in ((louder, copy), (other, lambda clip: clip))]


def plain(evaluation: Evaluation) -> Any:
    """All but the clock."""
    records = {group: [{**r, "wall_seconds": 0} for r in own] for group, own in evaluation.records.items()}
    examples = {
        group: [(each.kind, each.result.trial, each.result.converted.samples.tobytes()) for each in own]
        for group, own in evaluation.examples.items()
    }
    voices = {group: (np.array(each.real), np.array(each.converted)) for group, each in evaluation.voices.items()}
    return records, examples, voices


@pytest.mark.parametrize("held", [0.1, 2.5])
def test_slices_give_the_same_numbers(corpus: Manifest, monkeypatch: pytest.MonkeyPatch, held: float) -> None:
    def metrics() -> list[Metric]:
        return [SpeakerSimilarity(Timbre(), corpus), Words(Bands(), corpus), Spectral(), Sound()]

    whole = evaluated(corpus, metrics())
    monkeypatch.setattr(evaluate, "HELD", held)
    for found, wanted in zip(evaluated(corpus, metrics()), whole, strict=True):
        np.testing.assert_equal(plain(found), plain(wanted))
        assert found.flags == wanted.flags


def test_no_more_sound_is_held_than_is_measured_at_once(corpus: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 conversions of 0.8 s by batches of 2, measured by threes."""
    made, read, asks = Living(), Living(), Asks()
    get = Shelf.get
    monkeypatch.setattr(Shelf, "get", lambda self, kept: read.see(get(self, kept)))
    monkeypatch.setattr(evaluate, "HELD", 2.5)

    def say(requests: list) -> list[Audio]:
        return [made.see(Audio(request.source.samples + 0.0, RATE)) for request in requests]

    trials = {"unseen": pick_trials(corpus, "unseen", speakers=4)}
    found = run(trials, say, lambda clip: made.see(copy(clip)), corpus, [asks], batch_size=2)
    assert len(made.born) >= 12 + 4 and made.most <= 4  # a batch, and the one before it while the next is made
    assert asks.given == [3, 3, 3, 3]
    assert read.most <= 2 * 2 * 3 + 2 * len(found.examples["unseen"])  # with their ceilings; then what the report plays


def test_a_shelf_gives_back_the_same_bits() -> None:
    shelf = Shelf()
    clips = [Audio(speak(100.0, 1.0, i), RATE + i) for i in range(3)] + [Audio(np.full(1, np.nan, np.float32), RATE)]
    kept = [shelf.put(clip) for clip in clips]
    for place in (2, 0, 3, 1):
        found = shelf.get(kept[place])
        assert found.sample_rate == clips[place].sample_rate and found.samples.dtype == np.float32
        np.testing.assert_array_equal(found.samples, clips[place].samples)
    again = shelf.put(clips[0])  # after reading, too, it goes to the end
    np.testing.assert_array_equal(shelf.get(again).samples, clips[0].samples)
    np.testing.assert_array_equal(shelf.get(kept[1]).samples, clips[1].samples)


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match=r"No space left.*TMPDIR=FOLDER") as error:
        Shelf().put(Audio(np.zeros(5, np.float32), RATE))
    assert tempfile.gettempdir() in str(error.value) and "\n" not in str(error.value)
