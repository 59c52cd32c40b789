"""The error rate of an evaluation, and who counts it."""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_helpers import RATE, Timbre, copy
from recognizer_helpers import Bands, Letters

from revoice.audio.io import Audio
from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.evaluation import listeners
from revoice.evaluation.evaluate import Evaluation, build_metrics, run
from revoice.evaluation.listeners import build_recognizer, choose
from revoice.evaluation.metrics.naturalness import Naturalness
from revoice.evaluation.metrics.speaker import SpeakerSimilarity
from revoice.evaluation.metrics.words import Words
from revoice.evaluation.pairs import pick_trials
from revoice.evaluation.recognition import RECOGNIZERS, normalized
from revoice.evaluation.report import write_metrics, write_report, write_trials

NATURAL = [] if Naturalness.missing() else ["naturalness"]

SUFFIXES = ("converted", "copy", "source")


def identity(requests: list) -> list[Audio]:
    return [request.source for request in requests]


def backwards(requests: list) -> list[Audio]:
    return [Audio(request.source.samples[::-1].copy(), request.source.sample_rate) for request in requests]


@pytest.fixture(scope="module")
def trials(corpus: Manifest) -> dict:
    return {"unseen": pick_trials(corpus, "unseen", speakers=2, sentences_per_pair=2)}


def evaluated(corpus: Manifest, trials: dict, metrics: list, convert: Callable = identity, **more) -> Evaluation:
    return run(trials, convert, copy, corpus, metrics, **more)


def test_rates_by_hand(corpus: Manifest, trials: dict) -> None:
    # two voices, each says two sentences: four sources, in the order of the trials; then copies and conversions
    sources, copies = ["abcd", "ab", "", "abcdefgh"], ["abcd", "xb", "x", "abcdefgh"]
    judge = Letters(*sources, *copies, "abxd", "", "abc", "abcdefgh")
    found = evaluated(corpus, trials, [Words(judge, corpus)])
    records, summary = found.records["unseen"], found.summaries["unseen"]
    assert judge.asked == [12]
    assert [r["cer_converted"] for r in records][:2] == [0.25, 1.0] and math.isnan(records[2]["cer_converted"])
    assert [r["cer_copy"] for r in records][:2] == [0.0, 0.5]
    assert summary["cer_converted"] == pytest.approx((1 + 2 + 0) / (4 + 2 + 8))  # long sources count more
    assert summary["cer_copy"] == pytest.approx(1 / 14)
    assert summary["counts"]["cer_converted"] == 3 and summary["ci"]["cer_converted"] is None
    said = "words 3"
    assert records[0]["text"] == f"words <{said[-1]}>" or records[0]["text"].startswith("words")
    assert records[0]["heard_source"] == "abcd" and records[0]["heard_converted"] == "abxd"
    assert records[2]["cer_source"] == 1.0 and records[2]["cer_length_said"] == len(said)


def test_a_silent_conversion_where_nothing_is_known_to_be_said(corpus: Manifest, trials: dict) -> None:
    class Untold(Bands):
        def said(self, row: Row) -> None:
            return None

    def one_fails(requests: list) -> list[Audio]:
        first, *rest = identity(requests)
        return [Audio(np.zeros_like(first.samples), first.sample_rate), *rest]

    summary = evaluated(corpus, trials, [Words(Untold(), corpus)], one_fails).summaries["unseen"]
    assert summary["failed"] == 1 and summary["cer_converted"] > 0
    assert math.isnan(summary["cer_text"]) and summary["counts"]["cer_text"] == 0


def test_nothing_converted_and_everything_lost(corpus: Manifest) -> None:
    trials = {"unseen": pick_trials(corpus, "unseen", speakers=4)}
    kept = evaluated(corpus, trials, [Words(Bands(), corpus)]).summaries["unseen"]
    lost = evaluated(corpus, trials, [Words(Bands(), corpus)], backwards).summaries["unseen"]
    assert kept["cer_converted"] == kept["cer_copy"] == 0.0 < 0.3 < lost["cer_converted"]
    low, high = lost["ci"]["cer_converted"]
    assert low <= lost["cer_converted"] <= high


def test_recordings_are_heard_once(corpus: Manifest, trials: dict) -> None:
    judge = Bands()
    metric = Words(judge, corpus)
    for count in (12, 12 + 8):  # the sources are known the second time
        evaluated(corpus, trials, [metric])
        assert judge.heard == count


def test_copies_of_sources_are_made_where_they_are_asked_for(corpus: Manifest) -> None:
    alone = corpus.with_rows(replace(row, sentence=None, text=f"{row.id} alone") for row in corpus)
    trials = {"unseen": pick_trials(alone, "unseen", speakers=2)}
    for metrics, count in (([SpeakerSimilarity(Timbre(), alone)], 0), ([Words(Bands(), alone)], 2)):
        made: list[int] = []
        run(trials, identity, lambda clip, made=made: made.append(1) or copy(clip), alone, metrics)
        assert len(made) == count


def test_phones_have_their_own_columns(corpus: Manifest, trials: dict) -> None:
    judge = Letters(*["eI t"] * 8, *["eI d"] * 4, unit="phones")
    summary = evaluated(corpus, trials, [Words(judge, corpus)]).summaries["unseen"]
    assert summary["per_converted"] == 0.5 and summary["per_copy"] == 0.0 and math.isnan(summary["per_source"])
    assert "cer_converted" not in summary


def test_silence_counts_as_wholly_wrong(corpus: Manifest, trials: dict) -> None:
    def half(requests: list) -> list[Audio]:
        return [
            Audio(np.zeros(RATE, np.float32), RATE) if number % 2 else request.source
            for number, request in enumerate(requests)
        ]

    summary = evaluated(corpus, trials, [Words(Bands(), corpus)], half).summaries["unseen"]
    assert summary["failed"] == 2 and summary["counts"]["cer_converted"] == 4 and summary["counts"]["cer_copy"] == 2
    assert summary["cer_converted"] == pytest.approx(0.5, abs=0.05)
    none = evaluated(corpus, trials, [Words(Bands(), corpus)], lambda r: [Audio(np.zeros(RATE), RATE)] * len(r))
    assert none.summaries["unseen"]["cer_converted"] == 1.0


def test_metrics_json_names_the_judge(corpus: Manifest, trials: dict, tmp_path: Path) -> None:
    metrics = [Words(Bands(), corpus), Words(Bands(), corpus, prefix="second_")]
    found = evaluated(corpus, trials, metrics, stands_on=("teacher",))
    write_metrics(tmp_path / "metrics.json", found.summaries)
    section = json.loads((tmp_path / "metrics.json").read_text())["unseen"]
    for prefix in ("", "second_"):
        assert {f"{prefix}cer_{what}" for what in SUFFIXES} <= section.keys() & section["ci"].keys()
        judge = section[f"{prefix}recognizer"]
        assert (judge["name"], judge["unit"], judge["circular"]) == ("bands", "characters", True)
        assert judge["error_on_true_clips"] == section[f"{prefix}cer_source"] > 0
        assert judge["known_error"] == {"somewhere": {"rate": 0.25}}
    write_trials(tmp_path / "trials.csv", [found])
    assert "heard_converted" in (tmp_path / "trials.csv").read_text().splitlines()[0]
    nobody = evaluated(corpus, trials, [SpeakerSimilarity(Timbre(), corpus)])
    assert nobody.summaries["unseen"]["recognizer"] is None


def page(tmp_path: Path, evaluations: list[Evaluation], remark: str = "") -> str:
    write_report(tmp_path / "report.html", evaluations, "Report", {}, remark)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_report_shows_errors_beside_similarities(corpus: Manifest, trials: dict, tmp_path: Path) -> None:
    metrics = [SpeakerSimilarity(Timbre(), corpus), Words(Bands(), corpus)]
    found = evaluated(corpus, trials, metrics, backwards)
    text = page(tmp_path, [found])
    summary, example = found.summaries["unseen"], found.examples["unseen"][0]
    tiles = text[text.index('class="tiles"') : text.index("</div></div>")]
    assert tiles.index("Closer to the target") < tiles.index("Cosine to the target") < tiles.index("Character errors")
    assert f"<b>{summary['cer_converted']:.3f}</b>" in tiles
    assert f"bands, counts characters; its own errors: {summary['cer_source']:.3f} in true unseen sources" in text
    assert "somewhere rate 0.250" in text and "lower is better, 0 is as clear as the source" in text
    assert f"bands heard in the source: “{example.record['heard_source']}”" in text
    assert f"in the conversion: “{example.record['heard_converted']}”" in text
    assert "Circular" not in text and "No error rates" not in text


def test_no_table_or_picture_shows_a_similarity_alone(corpus: Manifest, trials: dict, tmp_path: Path) -> None:
    metrics = [SpeakerSimilarity(Timbre(), corpus), Words(Bands(), corpus)]
    found = evaluated(corpus, trials, metrics)
    text = page(tmp_path, [replace(found, name="one"), replace(found, name="two")])
    parts = [part.split("</table>")[0] for part in text.split("<table>")[1:]]
    parts += [part.split("</figcaption>")[0] for part in text.split("<figure>")[1:]]
    with_similarity = [part for part in parts if "cosine to the target" in part.lower()]
    assert len(with_similarity) > 6
    assert all("character errors" in part.lower() for part in with_similarity)


def test_the_report_warns_where_nobody_listens(corpus: Manifest, trials: dict, tmp_path: Path) -> None:
    found = evaluated(corpus, trials, [SpeakerSimilarity(Timbre(), corpus)])
    assert "No error rates:</strong> nobody listened to what is said: none is here." in page(
        tmp_path, [found], "none is here"
    )


def test_the_report_marks_circles(corpus: Manifest, trials: dict, tmp_path: Path) -> None:
    metrics = [Words(Bands(), corpus)]
    second = Letters(*["ab"] * 12)
    one = evaluated(corpus, trials, metrics, stands_on=("teacher",), name="pupil")
    text = page(tmp_path, [one], "There is no second opinion: none is installed.")
    assert "pupil shares weights or a teacher with bands, which was taught by teacher" in text
    assert (
        "There is no second opinion: none is installed." in text
        and f"{one.summaries['unseen']['cer_copy']:.3f}" in text
    )
    both = evaluated(
        corpus, trials, [*metrics, Words(second, corpus, prefix="second_")], stands_on=("teacher",), name="pupil"
    )
    text = page(tmp_path, [both])
    assert "letters gives a second opinion." in text and "Character errors (letters)" in text
    assert "second recognizer" in text


def test_without_a_recognizer_words_are_left_out(corpus: Manifest) -> None:
    assert [metric.name for metric in build_metrics(corpus)] == ["speaker", "spectral", "sound", *NATURAL, "speed"]
    built = build_metrics(corpus, recognizer=Bands(), second_recognizer=Letters())
    assert [metric.name for metric in built] == ["speaker", "words", "words", "spectral", "sound", *NATURAL, "speed"]
    assert built[2].columns[0].key == "second_cer_converted"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes exactly these recognizers available, all played by `Letters`."""

    def only(*names: str) -> None:
        for name in ("phones", "whisper", "pocketsphinx"):
            taught = ("whisper",) if name == "phones" else ()
            kind = type(name, (Letters,), {"name": name, "stands_on": taught, "__init__": lambda self: None})
            kind.missing = classmethod(lambda cls, gone=name not in names: "not here" if gone else "")
            RECOGNIZERS.names()
            monkeypatch.setitem(RECOGNIZERS._entries, name, kind)

    return only


DEFAULTS = ({"name": "phones", "path": None}, {"name": "auto", "path": None})


@pytest.mark.parametrize(
    ("there", "stands_on", "first", "second"),
    [
        ("phones whisper pocketsphinx", (), "phones", None),
        ("phones whisper pocketsphinx", ("resemblyzer",), "phones", None),
        ("phones whisper pocketsphinx", ("whisper",), "phones", "pocketsphinx"),  # phones was taught by whisper
        ("phones whisper pocketsphinx", ("phones",), "phones", "whisper"),
        ("phones pocketsphinx", ("phones",), "phones", "pocketsphinx"),
        ("phones whisper", ("whisper",), "phones", None),
        ("phones", ("whisper",), "phones", None),
        ("whisper pocketsphinx", (), "whisper", None),  # in place of the default
        ("whisper pocketsphinx", ("whisper",), "whisper", "pocketsphinx"),
        ("pocketsphinx", ("whisper",), "pocketsphinx", None),
        ("", (), None, None),
    ],
)
def test_who_listens(installed, there: str, stands_on: tuple, first: str | None, second: str | None) -> None:
    installed(*there.split())
    found = choose(*DEFAULTS, {"one": (), "two": stands_on})
    assert [r and r.name for r in (found.first, found.second)] == [first, second]
    assert bool(found.remark) == (first is None or (second is None and "phones" in there and "whisper" in stands_on))


def test_remarks_say_why(installed, caplog: pytest.LogCaptureFixture) -> None:
    installed("phones", "whisper")
    assert "(whisper) none is independent either" in choose(*DEFAULTS, {"a": ("whisper",)}).remark
    installed("phones")
    assert "no other recognizer is installed" in choose(*DEFAULTS, {"a": ("whisper",)}).remark
    assert "switched off" in choose(None, DEFAULTS[1], {"a": ()}).remark
    installed()
    assert "pip install" in choose(*DEFAULTS, {"a": ()}).remark
    installed("whisper")
    with caplog.at_level("INFO", logger=listeners.__name__):
        caplog.clear()
        assert build_recognizer(DEFAULTS[0]).name == "whisper"
    assert [r.message for r in caplog.records] == ["recognizer phones: not here; whisper counts the errors instead"]


def test_who_listens_can_be_said(installed) -> None:
    installed("phones", "whisper", "pocketsphinx")
    found = choose("whisper", {"name": "pocketsphinx"}, {"a": ()})
    assert (found.first.name, found.second.name) == ("whisper", "pocketsphinx")
    assert choose(*(DEFAULTS[0], None), {"a": ("whisper",)}).second is None
    own = {"name": "command", "command": f"{sys.executable} {{wav}}", "timeout": None}
    assert choose(own, DEFAULTS[1], {"a": ()}).first.weights.split(" (sha256 ")[0].endswith("{wav}")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"name": "wisper"}, None, "did you mean 'whisper'"),
        ({"path": "x"}, None, "type metrics.recognizer.name=phones"),
        ({"name": "pocketsphinx", "language": "de"}, None, "unknown setting of recognizer pocketsphinx 'language'"),
        (["phones"], None, "expected a name"),
        ({"name": "command", "command": "asr {wav}"}, {"name": "auto", "path": "x"}, "of which recognizer"),
    ],
)
def test_wrong_settings_of_a_listener(first, second, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        choose(first, second, {"a": ()})
    assert "\n" not in str(error.value)


def test_words_are_counted_as_jiwer_counts_them(corpus: Manifest, trials: dict) -> None:
    """One recognizer's texts, by the metric and by jiwer itself."""
    import jiwer

    sources = [f"please call number {i} at home" for i in range(4)]
    copies = [text.replace("call", "tall") for text in sources]
    converted = [text.replace("at home", "alone")[i:] for i, text in enumerate(sources)]
    found = evaluated(corpus, trials, [Words(Letters(*sources, *copies, *converted), corpus)])
    records = [record for records in found.records.values() for record in records]
    for record in records:
        own, said = record["heard_source"], record["heard_converted"]
        assert record["wer_converted"] == pytest.approx(jiwer.wer(own, said))
        assert record["cer_converted"] == pytest.approx(jiwer.cer(own, said))
        assert record["cer_text"] == pytest.approx(jiwer.cer(normalized(record["text"]), said))
    summary = found.summaries["unseen"]
    assert summary["wer_copy"] == pytest.approx(1 / 6)
