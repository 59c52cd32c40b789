"""Aspects swapped: what is near and far, and what is left of it all."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from revoice.audio.io import Audio
from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.evaluation.aspects import (
    COPY,
    MEASURES,
    TIMBRE,
    AspectProtocol,
    Matrix,
    _apart,
    _Clips,
    _errors,
    _means,
    _ways,
    at_pitch_of,
    measure,
    parallel_trials,
)  # fmt: skip
from revoice.evaluation.aspects_report import lines, picture, write_aspects
from revoice.evaluation.pairs import Trial
from revoice.evaluation.recognition import Recognizer, Transcript
from revoice.evaluation.training_voices import TrainingVoices
from revoice.evaluation.verification import Verifier
from revoice.models.base import StyleControls
from revoice.models.speechsplit import SpeechSplitControls


class Pitch(Verifier):
    """A voice is whether it is high."""

    name = "pitch"

    def embed(self, clips: Sequence[Audio]) -> Any:
        high = [float(np.abs(np.diff(np.sign(clip.samples))).sum() / clip.seconds > 700) for clip in clips]
        return np.array([[h, 1 - h] for h in high], dtype=np.float32)


def tone(f0: float, seconds: float, glide: float = 0.0) -> Audio:
    """A few harmonics whose strength changes, so that there is something to align."""
    t = np.arange(round(16000 * seconds)) / 16000
    phase = 2 * np.pi * np.cumsum(f0 * 2 ** (glide * t / seconds)) / 16000
    shape = 0.2 + np.abs(np.sin(np.pi * 3 * t / seconds))
    samples = sum(np.sin(k * phase) * shape**k / k for k in range(1, 9))
    return Audio((0.1 * samples).astype(np.float32), 16000)


def test_measures_know_their_own_aspect() -> None:
    clips = _Clips(Manifest("x", Path(), ()), {TIMBRE: Pitch()})
    target, voice = clips.heard(tone(220, 1.0)), {TIMBRE: np.array([1.0, 0.0], np.float32)}
    same = _apart(target, target, voice)
    assert max(same["pitch median"], same["pitch contour"], same["duration"], same["phone timing"]) == 0
    octave = _apart(clips.heard(tone(110, 1.0)), target, voice)
    assert octave["pitch median"] == pytest.approx(1200, abs=40) and octave["duration"] == 0
    slow = _apart(clips.heard(tone(220, 1.5)), target, voice)
    assert slow["duration"] == pytest.approx(0.5, abs=0.01) and slow["phone timing"] > 0.1
    assert slow["pitch median"] < 30


def test_the_target_at_the_source_s_pitch_has_that_pitch_and_its_own_timing() -> None:
    source, target = tone(110, 1.0), tone(180, 1.4)
    clips, voice = _Clips(Manifest("x", Path(), ()), {TIMBRE: Pitch()}), {TIMBRE: np.array([1.0, 0.0], np.float32)}
    moved = clips.heard(at_pitch_of(source, target))
    to_source = _apart(moved, clips.heard(source), voice)
    to_target = _apart(moved, clips.heard(target), voice)
    assert to_source["pitch median"] < 30 and to_target["pitch median"] > 700
    assert to_target["duration"] < 0.01
    silent = Audio(np.zeros(16000, np.float32), 16000)
    assert at_pitch_of(silent, target) is target


def test_where_source_and_target_do_not_differ_there_is_no_way_to_go(tmp_path: Path) -> None:
    start, end = {"timbre": 0.5, "duration": 0.012, "phone timing": 0.0}, dict.fromkeys(MEASURES, 0.0)
    end |= {"timbre": 0.1, "duration": 0.0119}
    ways = _ways({"timbre": 0.3, "duration": 0.05, "phone timing": 0.1}, start, end)
    assert ways["timbre"] == pytest.approx(0.5) and np.isnan([ways["duration"], ways["phone timing"]]).all()
    ways = dict.fromkeys(MEASURES, 0.5) | {"duration": float("nan")}
    matrix = Matrix({"rhythm": dict.fromkeys(MEASURES, 0.1)}, {"rhythm": ways}, {"rhythm": {}}, {}, 6)
    write_aspects(tmp_path, {"a": matrix}, {})
    assert "–<small>0.1 s" in (tmp_path / "report.html").read_text(encoding="utf-8") and "–" in lines(matrix)[1]
    found = json.loads((tmp_path / "metrics.json").read_text())["systems"]["a"]["ways"]["rhythm"]
    assert found["duration"] is None and found["timbre"] == 0.5


def test_all_means_are_of_the_same_trials_and_what_has_lost_its_pitch_has_gone_nowhere() -> None:
    nan = float("nan")
    start, end = np.array([4.0, 4.0, 9.0, nan]), np.array([0.0, 0.0, nan, 0.0])
    found = {COPY: {"pitch median": start}, "pitch": {"pitch median": np.array([0.0, nan, 1.0, 1.0])}}
    means, reached = _means(found, {"pitch median": end})
    assert means[COPY] == {"pitch median": 4.0} and reached == {"pitch median": 0.0}
    assert _ways(means["pitch"], means[COPY], reached)["pitch median"] == 0.5
    nothing, reached = _means({COPY: {"pitch median": np.array([nan])}}, {"pitch median": np.array([nan])})
    assert np.isnan(_ways(nothing[COPY], nothing[COPY], reached)["pitch median"])


def test_a_second_judge_has_a_column_of_its_own(tmp_path: Path) -> None:
    judges = {TIMBRE: Pitch(), f"{TIMBRE} (pitch)": Pitch()}
    clips = _Clips(Manifest("x", Path(), ()), judges)
    low, high = clips.heard(tone(110, 1.0)), clips.heard(tone(220, 1.0))
    found = _apart(low, high, high.voices)
    assert found[TIMBRE] == found[f"{TIMBRE} (pitch)"] == 1.0 and list(found)[:2] == list(judges)
    values = {name: 0.5 for name in found}
    write_aspects(tmp_path, {"a": Matrix({"rhythm": values}, {"rhythm": values}, {"rhythm": {}}, {}, 1)}, {})
    assert "timbre (pitch)" in (tmp_path / "report.html").read_text()


def test_a_table_of_speakers_is_refused() -> None:
    converter: Any = SimpleNamespace(model=SimpleNamespace(name="speechsplit", Controls=SpeechSplitControls))
    converter.model.target = "speaker"
    with pytest.raises(UserError, match="voices of its table"):
        measure(converter, [], Manifest("x", Path(), ()), [Pitch()], [])


def test_a_model_that_swaps_nothing_is_refused() -> None:
    converter: Any = SimpleNamespace(model=SimpleNamespace(name="vqvae"))
    converter.model.Controls = StyleControls
    with pytest.raises(UserError, match="takes a speechsplit"):
        measure(converter, [], Manifest("x", Path(), ()), [Pitch()], [])


class Lengths(Recognizer):
    """Hears as many phones as a clip has tenths of a second, but none in a silent one."""

    name, unit = "lengths", "phones"

    def transcribe(self, clips: Sequence[Audio]) -> list[Transcript]:
        return [Transcript.of_phones(["a"] * round(10 * clip.seconds * bool(clip.samples.any()))) for clip in clips]


def test_a_source_in_which_nothing_is_heard_is_not_counted(tmp_path: Path) -> None:
    silent = Audio(np.zeros(16000, np.float32), 16000)
    sources = {"long": tone(110, 1.0), "silent": silent, "short": tone(110, 0.5)}
    rows = [Row(id=name, path=f"{name}.wav", speaker="s") for name in sources]
    trials = [Trial(source=row, references=(), true_target=None, enrol_target=(), enrol_source=()) for row in rows]
    clips: Any = SimpleNamespace(audio=lambda row: sources[row.id])
    made = {"half": [tone(110, 0.5), tone(110, 0.5), tone(110, 0.5)]}
    assert _errors(made, trials, clips, [Lengths()]) == {"half": {"per (lengths)": pytest.approx(5 / 15)}}
    nothing = _errors({"half": [silent]}, trials[1:2], clips, [Lengths()])["half"]
    assert np.isnan(nothing["per (lengths)"])
    values = dict.fromkeys(MEASURES, 0.5)
    matrix = Matrix({"half": values}, {"half": values}, {"half": nothing}, {}, 1)
    write_aspects(tmp_path, {"a": matrix}, {})
    assert json.loads((tmp_path / "metrics.json").read_text())["systems"]["a"]["errors"]["half"] == {
        "per (lengths)": None
    }


def test_only_pairs_that_say_the_same_are_measured() -> None:
    rows = [
        Row(id=f"{voice}{n}", path="a.wav", speaker=voice, sentence=f"{voice}{n}", split="test_unseen")
        for voice in "ab" for n in range(4)
    ]  # fmt: skip
    with pytest.raises(UserError, match="two unseen voices say"):
        parallel_trials(Manifest("x", Path(), tuple(rows)), AspectProtocol(voices=2), TrainingVoices(), 0)


def test_a_target_may_say_the_sentence_in_another_emotion() -> None:
    rows = [
        Row(id=f"{voice}{n}{mood}", path="a.wav", speaker=voice, sentence=str(n), split="test_unseen", emotion=mood)
        for voice in "abc" for n in range(5) for mood in ("neutral", "sad", "happy")
    ]  # fmt: skip
    protocol = AspectProtocol(voices=3, other_emotion=True)
    trials = parallel_trials(Manifest("x", Path(), tuple(rows)), protocol, TrainingVoices(), 0)
    targets = [trial.true_target for trial in trials]
    assert len(trials) == 6 and {trial.source.emotion for trial in trials} == {"happy"}
    assert [row.emotion for row in targets if row] == ["neutral", "sad"] * 3
    for trial, row in zip(trials, targets, strict=True):
        assert row is not None and (row.sentence, row.speaker) == (trial.source.sentence, trial.target)
    alike = tuple(row for row in rows if row.emotion == "sad")
    untold = tuple(replace(row, emotion=None) if row.speaker == "a" else row for row in alike if row.speaker != "c")
    for none in (alike, untold):
        with pytest.raises(UserError, match="in another emotion"):
            parallel_trials(Manifest("x", Path(), none), protocol, TrainingVoices(), 0)


def test_the_report_holds_every_number(tmp_path: Path) -> None:
    values = {name: 0.25 for name in MEASURES}
    names = (COPY, "rhythm")
    matrix = Matrix(
        dict.fromkeys(names, values), dict.fromkeys(names, values), dict.fromkeys(names, {"per (phones)": 0.125}),
        {"converter (cents)": 75.0}, 6,
    )  # fmt: skip
    write_aspects(tmp_path, {"a": matrix}, {"model": "a"})
    text = (tmp_path / "report.html").read_text()
    assert "0.125" in text and "75.00" in text and "<img" in text and "<script" not in text
    found = json.loads((tmp_path / "metrics.json").read_text())["systems"]["a"]
    assert found["errors"]["rhythm"] == {"per (phones)": 0.125} and found["trials"] == 6
    assert any("rhythm" in line and "0.12" in line for line in lines(matrix))
    assert picture(matrix).startswith(b"\x89PNG")
