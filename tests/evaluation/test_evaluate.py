import math
import time
from collections.abc import Sequence

import numpy as np
import pytest
from evaluation_helpers import RATE, VOICES, Timbre, copy, speak

from revoice.audio.io import Audio, read_audio
from revoice.data.corpora.manifest import Manifest
from revoice.errors import UserError
from revoice.evaluation.evaluate import Evaluation, build_metrics, run
from revoice.evaluation.metrics.base import METRICS, Metric
from revoice.evaluation.metrics.naturalness import Naturalness
from revoice.evaluation.metrics.speaker import SpeakerSimilarity
from revoice.evaluation.metrics.spectral import Spectral
from revoice.evaluation.metrics.speed import Speed
from revoice.evaluation.pairs import pick_trials
from revoice.evaluation.workers import Workers

NATURAL = [] if Naturalness.missing() else ["naturalness"]

KEYS = {
    "pairs", "cosine_target", "cosine_source", "closer_to_target", "mcd_converted", "mcd_unconverted", "mcd_ceiling",
    "f0_correlation", "f0_rmse_cents", "real_time_factor", "cosine_ceiling", "cosine_unconverted", "ci",
    "same_gender", "cross_gender",
}  # fmt: skip


def metrics(manifest: Manifest, workers: Workers | None = None) -> list[Metric]:
    return [SpeakerSimilarity(Timbre(), manifest), Spectral(workers), Speed()]


def identity(requests: list) -> list[Audio]:
    return [request.source for request in requests]


class Oracle:
    """Says the source's sentence in the voice of the reference: knows the corpus by heart."""

    def __init__(self, manifest: Manifest) -> None:
        self.rows = {read_audio(manifest.file(row)).samples.tobytes(): row for row in manifest}

    def __call__(self, requests: list) -> list[Audio]:
        clips = []
        for source, references, *_ in requests:
            said, voice = self.rows[source.samples.tobytes()], self.rows[references[0].samples.tobytes()].speaker
            pitch, tract, _, _ = VOICES[voice]
            clips.append(Audio(speak(pitch, tract, int(said.sentence[1:])), RATE))
        return clips


@pytest.fixture(scope="module")
def trials(corpus: Manifest) -> dict:
    return {group: pick_trials(corpus, group, speakers=4) for group in ("unseen", "seen")}


@pytest.fixture(scope="module")
def perfect(corpus: Manifest, trials: dict) -> Evaluation:
    return run(trials, Oracle(corpus), copy, corpus, metrics(corpus), name="oracle", batch_size=3, circular=True)


@pytest.fixture(scope="module")
def nothing(corpus: Manifest, trials: dict) -> Evaluation:
    return run(trials, identity, copy, corpus, metrics(corpus))


def test_summary_has_every_promised_key(perfect: Evaluation) -> None:
    assert set(perfect.summaries) == {"unseen", "seen"}
    unseen = perfect.summaries["unseen"]
    assert set(unseen) >= KEYS
    assert set(unseen["cross_gender"]) >= KEYS - {"same_gender", "cross_gender"}
    assert (unseen["pairs"], unseen["trials"], unseen["failed"]) == (12, 12, 0)
    assert unseen["same_gender"]["pairs"] + unseen["cross_gender"]["pairs"] == 12
    assert perfect.summaries["seen"]["pairs"] == 2
    assert perfect.circular and perfect.name == "oracle"


def test_a_perfect_conversion(perfect: Evaluation) -> None:
    unseen = perfect.summaries["unseen"]
    assert unseen["closer_to_target"] == 1.0
    assert unseen["mcd_converted"] < 0.8 < 3.0 < unseen["mcd_unconverted"]
    assert unseen["cosine_target"] == pytest.approx(unseen["cosine_ceiling"], abs=0.01)
    assert unseen["f0_correlation_target"] > 0.95 and unseen["f0_rmse_cents_target"] < 40
    assert unseen["cross_gender"]["f0_rmse_cents"] > 600 > unseen["same_gender"]["f0_rmse_cents"]


def test_no_conversion_at_all(nothing: Evaluation) -> None:
    unseen = nothing.summaries["unseen"]
    assert unseen["closer_to_target"] == 0.0
    assert unseen["mcd_converted"] == pytest.approx(unseen["mcd_unconverted"])
    assert unseen["cosine_target"] == pytest.approx(unseen["cosine_unconverted"])
    assert unseen["f0_correlation"] == pytest.approx(1.0) and unseen["f0_rmse_cents"] == pytest.approx(0.0)
    assert unseen["mcd_ceiling"] < 0.3


def test_intervals_hold_the_mean_and_are_seeded(corpus: Manifest, trials: dict, perfect: Evaluation) -> None:
    unseen = perfect.summaries["unseen"]
    for key in ("cosine_target", "mcd_unconverted", "real_time_factor"):
        low, high = unseen["ci"][key]
        assert low <= unseen[key] <= high
        assert low < high
    again = run(trials, Oracle(corpus), copy, corpus, metrics(corpus)[:1], seed=0).summaries["unseen"]
    assert again["ci"]["cosine_target"] == pytest.approx(unseen["ci"]["cosine_target"])


def test_records_say_what_was_compared(perfect: Evaluation, corpus: Manifest) -> None:
    rows = {row.id: row for row in corpus}
    for record in perfect.records["unseen"]:
        source, truth = rows[record["source"]], rows[record["true_target"]]
        assert source.sentence == truth.sentence == record["sentence"]
        assert (source.speaker, truth.speaker) == (record["source_speaker"], record["target_speaker"])
        assert all(rows[id].speaker == truth.speaker for id in record["references"])
        assert record["seconds"] == pytest.approx(0.8)


def test_examples_are_ranked_and_of_both_genders(perfect: Evaluation) -> None:
    examples = perfect.examples["unseen"]
    assert {example.record["target_gender"] for example in examples} == {"F", "M"}
    for gender in ("F", "M"):
        kinds = {e.kind: e.record["cosine_target"] for e in examples if e.record["target_gender"] == gender}
        assert kinds["best"] >= kinds["median"] >= kinds["worst"]
    assert len({(e.record["source"], e.record["target_speaker"]) for e in examples}) == len(examples)


def test_real_time_factor_is_wall_time_over_audio_time(corpus: Manifest, trials: dict) -> None:
    def slow(requests: list) -> list[Audio]:
        time.sleep(0.04 * len(requests))
        return identity(requests)

    found = run(trials, slow, copy, corpus, [Speed()], batch_size=4)
    assert 0.05 <= found.summaries["unseen"]["real_time_factor"] < 0.2
    total = sum(record["wall_seconds"] for records in found.records.values() for record in records)
    assert total >= 0.04 * 14


def test_each_recording_is_embedded_and_resynthesized_once(corpus: Manifest, trials: dict) -> None:
    verifier, vocoded = Timbre(), []

    def vocode(clip: Audio) -> Audio:
        vocoded.append(clip.samples.tobytes())
        return copy(clip)

    speaker = SpeakerSimilarity(verifier, corpus)
    run(trials, identity, vocode, corpus, [speaker])
    assert len(set(vocoded)) == len(vocoded)
    count = sum(map(len, trials.values()))
    assert verifier.embedded <= count + len(vocoded) + len(corpus)
    before = verifier.embedded
    run(trials, identity, vocode, corpus, [speaker])
    assert verifier.embedded == before + count + len(vocoded) // 2


def test_conversions_without_sound_are_counted_not_averaged(corpus: Manifest, trials: dict) -> None:
    oracle = Oracle(corpus)

    def broken(requests: list) -> list[Audio]:
        good = oracle(requests)
        good[0] = Audio(np.zeros(RATE, np.float32), RATE)
        good[1] = Audio(np.full(RATE, np.nan, np.float32), RATE)
        good[2] = Audio(np.zeros(10, np.float32), RATE)
        return good

    found = run(trials, broken, copy, corpus, metrics(corpus), batch_size=99)
    every = [record for records in found.records.values() for record in records]
    assert sorted(record["failed"] for record in every if record["failed"]) == [
        "no sound", "samples that are not finite", "silence",
    ]  # fmt: skip
    summary = found.summaries["unseen"]
    assert summary["failed"] == sum(bool(record["failed"]) for record in found.records["unseen"]) > 0
    assert summary["closer_to_target"] == pytest.approx(1 - summary["failed"] / 12)
    assert summary["counts"]["mcd_converted"] == 12 - summary["failed"]
    assert math.isfinite(summary["mcd_converted"]) and summary["mcd_converted"] < 0.8


def test_without_true_targets_and_genders(corpus: Manifest) -> None:
    from dataclasses import replace

    rows = [replace(row, sentence=None, text=None, gender=None) for row in corpus]
    manifest = corpus.with_rows(rows)
    found = run({"unseen": pick_trials(manifest, "unseen")}, identity, copy, manifest, metrics(manifest))
    unseen = found.summaries["unseen"]
    assert "same_gender" not in unseen and "cross_gender" not in unseen
    assert math.isnan(unseen["mcd_converted"]) and unseen["ci"]["mcd_converted"] is None
    assert unseen["counts"]["mcd_converted"] == 0
    assert unseen["f0_correlation"] == pytest.approx(1.0)
    assert math.isfinite(unseen["cosine_target"])


def test_processes_give_the_same_numbers(corpus: Manifest, trials: dict, perfect: Evaluation) -> None:
    with Workers(2) as workers:
        found = run({"seen": trials["seen"]}, Oracle(corpus), copy, corpus, [Spectral(workers)])
    for mine, theirs in zip(perfect.records["seen"], found.records["seen"], strict=True):
        for key in ("mcd_converted", "mcd_unconverted", "mcd_ceiling", "f0_correlation"):
            assert mine[key] == pytest.approx(theirs[key], nan_ok=True)


def test_a_wrong_number_of_processes() -> None:
    with pytest.raises(UserError, match="workers=-1"):
        Workers(-1)


def test_progress_reaches_the_end_of_every_stage(corpus: Manifest, trials: dict) -> None:
    seen: list[tuple[str, int, int]] = []
    run(trials, identity, copy, corpus, [Speed()], progress=lambda *step: seen.append(step))
    last = {stage: (done, total) for stage, done, total in seen}
    assert set(last) == {"converting", "resynthesizing", "measuring"}
    assert all(done == total > 0 for done, total in last.values())


def test_metrics_come_from_the_registry(corpus: Manifest) -> None:
    built = build_metrics(corpus)
    assert [metric.name for metric in built] == ["speaker", "spectral", "sound", *NATURAL, "speed"]
    assert set(METRICS.names()) >= {"speaker", "spectral", "speed", "words"}
    with pytest.raises(UserError, match="unknown metric 'mcd'"):
        build_metrics(corpus, ["mcd"])


def test_a_second_verifier_has_its_own_columns(corpus: Manifest, trials: dict) -> None:
    both: Sequence[Metric] = [
        SpeakerSimilarity(Timbre(), corpus),
        SpeakerSimilarity(Timbre(), corpus, prefix="second_"),
    ]
    unseen = run(trials, identity, copy, corpus, both).summaries["unseen"]
    assert unseen["second_cosine_target"] == unseen["cosine_target"]
