"""Systems whose worth is known: each scores where it must, and what is wrong with it is named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_helpers import RATE, Timbre, copy, speak
from recognizer_helpers import Bands

from revoice.audio.io import Audio, read_audio, resample
from revoice.data.corpora.manifest import Manifest
from revoice.errors import UserError
from revoice.evaluation.baselines import BASELINES, check_baselines, convert_by, spoken
from revoice.evaluation.evaluate import Evaluation, run
from revoice.evaluation.flags import flags
from revoice.evaluation.likeness import flatness_db, likeness
from revoice.evaluation.metrics.sound import Sound, look, silence
from revoice.evaluation.metrics.speaker import SpeakerSimilarity
from revoice.evaluation.metrics.spectral import Spectral
from revoice.evaluation.metrics.speed import Speed
from revoice.evaluation.metrics.words import Words
from revoice.evaluation.pairs import pick_trials
from revoice.evaluation.protocol import Chosen, Protocol
from revoice.evaluation.report import write_report
from revoice.evaluation.session import _with_possible


@pytest.fixture(scope="module")
def table(corpus: Manifest) -> dict[str, Evaluation]:
    trials = {"unseen": pick_trials(corpus, "unseen", speakers=4)}
    metrics = [SpeakerSimilarity(Timbre(), corpus), Words(Bands(), corpus), Spectral(), Sound(), Speed()]
    return {name: run(trials, convert_by(name, copy), copy, corpus, metrics, name=name) for name in BASELINES}


def named(found: Evaluation) -> set[str]:
    return {flag.name for flag in found.flags["unseen"]}


def test_the_true_target_is_the_ceiling(table: dict[str, Evaluation]) -> None:
    unseen = table["target"].summaries["unseen"]
    assert unseen["cosine_target"] == pytest.approx(unseen["cosine_ceiling"], abs=1e-3)
    assert unseen["mcd_converted"] == pytest.approx(0.0, abs=1e-6) and unseen["closer_to_target"] == 1.0


def test_without_its_own_recording_a_target_says_nothing(corpus: Manifest, tmp_path: Path) -> None:
    """What it cannot say is no failure of its own: it is left out of every mean."""
    trials = pick_trials(corpus, "unseen", speakers=4)[:4]
    half = {"unseen": [replace(trial, true_target=None) if i % 2 else trial for i, trial in enumerate(trials)]}
    metrics = [SpeakerSimilarity(Timbre(), corpus), Words(Bands(), corpus), Spectral(), Sound(), Speed()]
    possible = BASELINES["target"].possible
    found = run(half, convert_by("target", copy), copy, corpus, metrics, name="target", possible=possible)
    unseen = found.summaries["unseen"]
    assert unseen["trials"] == 4 and unseen["failed"] == 0 and unseen["counts"]["closer_to_target"] == 2
    assert unseen["closer_to_target"] == 1.0 and "silence" not in named(found)
    assert [record["true_target"] is None for record in found.records["unseen"]] == [False, True, False, True]
    assert [("cosine_target" in record) for record in found.records["unseen"]] == [True, False, True, False]
    write_report(page := tmp_path / "half.html", [found], "half", {})
    assert "no usable sound" not in page.read_text()


def test_baselines_without_anything_to_say_are_left_out(corpus: Manifest, caplog: pytest.LogCaptureFixture) -> None:
    trials = {"unseen": [replace(trial, true_target=None) for trial in pick_trials(corpus, "unseen", speakers=4)]}
    trials["seen"] = pick_trials(corpus, "seen", speakers=2)
    assert list(spoken("target", trials)) == ["seen"] and spoken("source", trials) == trials
    kept, chosen = _with_possible(Protocol(baselines=("source", "target")), Chosen({"unseen": trials["unseen"]}))
    assert kept.baselines == ("source",) and "baseline target: " in chosen.left_out[0] and "target" in caplog.text


def test_the_source_is_the_floor(table: dict[str, Evaluation]) -> None:
    for name in ("source", "copy"):
        unseen = table[name].summaries["unseen"]
        assert unseen["cosine_target"] == pytest.approx(unseen["cosine_unconverted"], abs=2e-3)
        assert unseen["mcd_converted"] == pytest.approx(unseen["mcd_unconverted"], abs=0.3)
        assert unseen["closer_to_target"] == 0.0 and unseen["voicing_error"] < 0.05
    assert table["source"].summaries["unseen"]["cer_converted"] == 0.0


@pytest.mark.parametrize(
    ("name", "flag"), [("silence", "silence"), ("noise", "noise"), ("reference", "reference repeated")]
)
def test_what_is_no_conversion_is_named(table: dict[str, Evaluation], name: str, flag: str) -> None:
    assert flag in named(table[name])


def test_the_right_voice_saying_garbage_is_named(table: dict[str, Evaluation]) -> None:
    unseen = table["garbage"].summaries["unseen"]
    assert unseen["closer_to_target"] > 0.9  # similarity alone would call it a triumph
    (flag,) = [flag for flag in table["garbage"].flags["unseen"] if flag.name == "unintelligible"]
    assert "the right voice says something else" in flag.text


def test_unknown_baselines_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'target'"):
        check_baselines(("targt",))


def test_a_clipped_conversion_and_an_untouched_one() -> None:
    good = {"failed": "", "silence": 0.1, "flatness": -20.0, "like_reference": 0.3, "clipping": 0.0}
    assert flags([good], {"clipping": 0.0, "cosine_target": 0.8, "cosine_unconverted": 0.5}, ["cer_converted"]) == []
    loud = flags([good], {"clipping": 0.02}, [])
    assert [flag.name for flag in loud] == ["clipping"]
    same = {"cosine_target": 0.5, "cosine_unconverted": 0.5, "cosine_source": 0.9, "closer_to_target": 0.0}
    assert [flag.name for flag in flags([good], same, [])] == ["nothing converted"]
    assert flags([], {}, []) == []


def test_likeness_of_real_speech(shared: Path) -> None:
    """Another sentence of the same voice is far from what the threshold calls the same recording."""
    clips = [read_audio(path) for path in sorted((shared / "data/vctk_mini/wav16").rglob("*.wav"))[:8]]
    assert max(likeness(a, b) for i, a in enumerate(clips) for b in clips[:i]) < 0.65
    for clip in clips[:3]:
        later = np.concatenate([np.zeros(7000, np.float32), 0.3 * clip.samples[3000:]])
        other = Audio(resample(later, clip.sample_rate, 22050), 22050)
        assert likeness(clip, other) > 0.85 and likeness(clip, clip) == pytest.approx(1.0)
        assert flatness_db(clip) < -13


def test_flatness_of_noise_is_that_of_the_exponential_distribution() -> None:
    """Mean of the logarithm of a periodogram of white noise: -Euler's constant, 2.5 dB under its mean."""
    noise = Audio(np.random.default_rng(0).standard_normal(8 * RATE).astype(np.float32) * 0.1, RATE)
    assert flatness_db(noise) == pytest.approx(-2.5, abs=0.2)
    assert np.isnan(flatness_db(Audio(np.zeros(RATE, np.float32), RATE)))


def test_levels_of_known_changes() -> None:
    clip = Audio(speak(120, 1.0, 0, 2.0), RATE)
    quieter = look(Audio(0.5 * clip.samples, RATE), clip, [clip])
    assert quieter["level_change"] == pytest.approx(-6.02, abs=0.05)
    assert quieter["like_reference"] == pytest.approx(1.0, abs=1e-3) and quieter["clipping"] == 0.0
    square = Audio(np.sign(clip.samples).astype(np.float32), RATE)
    assert look(square, clip, [])["clipping"] > 0.5
    half = np.concatenate([clip.samples, np.zeros(len(clip.samples), np.float32)])
    assert silence(Audio(half, RATE)) == pytest.approx(0.5, abs=0.08)
    nothing = look(Audio(np.zeros(RATE, np.float32), RATE), clip, [clip])
    assert np.isnan(nothing["level_change"]) and np.isnan(nothing["like_reference"]) and nothing["silence"] == 1.0


def test_a_recognizer_that_fails_on_the_copy_is_not_believed() -> None:
    record = {"failed": "", "silence": 0.1, "flatness": -20.0, "like_reference": 0.3}
    summary = {"cer_converted": 1.2, "cer_copy": 0.9, "per_converted": 0.2, "per_copy": 0.1}
    assert flags([record], summary, ["cer_converted", "per_converted"]) == []
    summary |= {"per_converted": 0.9}
    assert [flag.name for flag in flags([record], summary, ["cer_converted", "per_converted"])] == ["unintelligible"]
