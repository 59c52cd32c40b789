"""What was found out before is not found out again."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from evaluation_helpers import RATE, Timbre, copy, speak
from recognizer_helpers import Bands

from revoice.audio.io import Audio
from revoice.data.corpora.manifest import Manifest
from revoice.evaluation.cache import Cache, Conversions, RememberingRecognizer, RememberingVerifier, content
from revoice.evaluation.conversions import Request
from revoice.evaluation.evaluate import run
from revoice.evaluation.metrics.speed import Speed
from revoice.evaluation.pairs import pick_trials
from revoice.evaluation.session import _identity
from revoice.models.base import Controls

CLIPS = [Audio(speak(100.0 + 20 * i, 1.0, i), RATE) for i in range(3)]


@pytest.fixture()
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_a_verifier_embeds_a_clip_once(cache: Cache) -> None:
    plain = Timbre().embed(CLIPS)
    judge = Timbre()
    np.testing.assert_array_equal(RememberingVerifier(judge, cache).embed(CLIPS[:2]), plain[:2])
    again = RememberingVerifier(judge, cache)
    np.testing.assert_array_equal(again.embed([CLIPS[2], *CLIPS, CLIPS[0]]), plain[[2, 0, 1, 2, 0]])
    assert judge.embedded == 3 and again.name == "timbre"


def test_a_recognizer_hears_a_clip_once(cache: Cache) -> None:
    plain = Bands().transcribe(CLIPS)
    assert RememberingRecognizer(Bands(), cache).transcribe(CLIPS) == plain

    class Deaf(Bands):
        def transcribe(self, clips):
            assert not clips, "it was to be asked for nothing"
            return []

    again = RememberingRecognizer(Deaf(), cache)
    assert again.transcribe(CLIPS[::-1]) == plain[::-1]
    assert (again.name, again.unit) == (Bands.name, Bands().unit)


def test_what_cannot_be_read_is_found_out_anew(cache: Cache) -> None:
    RememberingVerifier(Timbre(), cache).embed(CLIPS)
    for file in cache.folder.rglob("*.npz"):
        file.write_bytes(b"PK\x03\x04 broken")
    judge = Timbre()
    RememberingVerifier(judge, cache).embed(CLIPS)
    assert judge.embedded == 3


def test_conversions_are_known_by_system_source_and_references(cache: Cache) -> None:
    request = Request(CLIPS[0], [CLIPS[1]], "anna")
    mine = Conversions(cache, {"checkpoint": "a", "controls": {"strength": 1.0}})
    assert mine.recall(request) is None
    mine.keep(request, CLIPS[2], 0.25)
    said, seconds = mine.recall(request)
    np.testing.assert_array_equal(said.samples, CLIPS[2].samples)
    assert (said.sample_rate, seconds) == (RATE, 0.25)
    assert Conversions(cache, {"checkpoint": "b", "controls": {"strength": 1.0}}).recall(request) is None
    assert mine.recall(Request(CLIPS[0], [CLIPS[2]], "anna")) is None
    assert mine.recall(Request(CLIPS[1], [CLIPS[1]], "anna")) is None
    assert content(CLIPS[0]) != content(Audio(CLIPS[0].samples, 8000))


def test_the_time_of_another_device_is_not_recalled() -> None:
    here, there = (
        _identity(SimpleNamespace(describe=dict, controls=lambda _: Controls(), device=torch.device(name)))  # type: ignore[arg-type]
        for name in ("cpu", "meta")
    )
    assert here != there


def test_an_evaluation_goes_on_where_it_was_killed(corpus: Manifest, cache: Cache) -> None:
    trials = {"unseen": pick_trials(corpus, "unseen", speakers=4)}
    asked: list[int] = []

    def dies(requests):
        asked.append(len(requests))
        if len(asked) > 2:
            raise KeyboardInterrupt
        return [request.source for request in requests]

    def lives(requests):
        asked.append(len(requests))
        return [request.source for request in requests]

    with pytest.raises(KeyboardInterrupt):
        run(trials, dies, copy, corpus, [Speed()], batch_size=3, memory=Conversions(cache, {}))
    asked.clear()
    found = run(trials, lives, copy, corpus, [Speed()], batch_size=3, memory=Conversions(cache, {}))
    assert sum(asked) == 12 - 6
    assert found.summaries["unseen"]["counts"]["real_time_factor"] == 12
