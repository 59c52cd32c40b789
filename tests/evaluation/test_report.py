import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from evaluation_helpers import RATE, Timbre, copy, speak

from revoice.audio.io import Audio
from revoice.data.corpora.manifest import Manifest
from revoice.evaluation.evaluate import Evaluation, run
from revoice.evaluation.media import RATE_MAX, SECONDS_MAX, audio_uri
from revoice.evaluation.metrics.base import Column
from revoice.evaluation.metrics.speaker import SpeakerSimilarity
from revoice.evaluation.metrics.spectral import Spectral
from revoice.evaluation.metrics.speed import Speed
from revoice.evaluation.pairs import pick_trials
from revoice.evaluation.pictures import RANGE_DB, cosine_scatter, spectrogram_db, spectrograms
from revoice.evaluation.report import write_metrics, write_report, write_trials
from revoice.evaluation.tables import number, with_interval

EVIL = "<script>alert('x')</script> & \"co\""


class Page(HTMLParser):
    """Collects what the tests ask for; fails on tags that are not closed in order."""

    VOID = {"meta", "img", "br"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def evaluation(corpus: Manifest) -> Evaluation:
    def higher(requests: list) -> list[Audio]:
        return [Audio(asked.source.samples[::-1].copy(), asked.source.sample_rate) for asked in requests]

    trials = {group: pick_trials(corpus, group, speakers=4) for group in ("unseen", "seen")}
    return run(trials, higher, copy, corpus, [SpeakerSimilarity(Timbre(), corpus), Spectral(), Speed()], name=EVIL)


@pytest.fixture(scope="module")
def page(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    write_report(path, [replace(evaluation, circular=True)], f"Report {EVIL}", {"Model": EVIL, "Pairs": 12})
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    return Page(path.read_text(encoding="utf-8"))


def test_nothing_is_fetched_and_nothing_runs(page: Page) -> None:
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    for _, attrs in page.tags:
        for key in ("src", "href"):
            if key in attrs:
                assert attrs[key].startswith("data:")
    style = page.text[: page.text.index("Report")]
    assert "url(" not in style and "@import" not in style and "http" not in page.text


def test_strings_are_escaped(page: Page) -> None:
    assert page.text.count(EVIL) >= 3
    assert "words <3>" in page.text


def test_pictures_and_players(page: Page, evaluation: Evaluation) -> None:
    examples = sum(map(len, evaluation.examples.values()))
    assert examples >= 8
    assert len(page.all("img")) == 2 * examples + 1 + 2  # spectrograms and pitch of each, cosines, a map for each group
    assert len(page.all("audio")) == 4 * examples
    for image in page.all("img"):
        assert image["src"].startswith("data:image/png;base64,") and len(image["alt"]) > 40
    for player in page.all("audio"):
        assert player["src"].startswith("data:audio/ogg;base64,") and player["aria-label"] and "controls" in player
    assert any("true target" in player["aria-label"] for player in page.all("audio"))


def test_numbers_intervals_and_reference_points(page: Page, evaluation: Evaluation) -> None:
    unseen = evaluation.summaries["unseen"]
    for key in ("mcd_converted", "mcd_unconverted", "mcd_ceiling"):
        assert f"{unseen[key]:.2f} dB" in page.text
    low, high = unseen["ci"]["cosine_target"]
    assert f"{low:.3f} to {high:.3f}" in page.text
    assert f"{100 * unseen['closer_to_target']:.1f} %" in page.text
    assert "Most similar: " in page.text and "Best" not in page.text and "closer to the " in page.text
    for words in ("higher is better", "lower is better", "Same gender", "Cross-gender", "Circular"):
        assert words in page.text


def test_every_told_column_says_which_direction_is_good(evaluation: Evaluation) -> None:
    for column in evaluation.columns:
        if column.explain:
            assert re.search(r"\b(higher|lower)\b", column.explain), column.key
            assert column.explain.endswith(".")


def test_systems_side_by_side(evaluation: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    short = replace(evaluation, examples={group: few[:1] for group, few in evaluation.examples.items()})
    write_report(path, [replace(short, name="first"), replace(short, name="second")], "Two", {})
    text = path.read_text(encoding="utf-8")
    found = Page(text)
    assert "Side by side" in found.text
    heads = re.findall(r'<th scope="col" class="n">(first|second)</th>', text)
    assert heads == ["first", "second"] * 2  # a column each, whatever the number of metrics
    cells = re.findall(r'<td class="n(?: main)?" data-head="(first|second)"><span>', text)
    assert cells[:4] == ["first", "second"] * 2
    assert len(found.all("audio")) == 2 * 4
    assert "Circular" not in found.text


def test_one_sided_data_is_shown_without_pictures_of_nothing(corpus: Manifest, tmp_path: Path) -> None:
    rows = [replace(row, sentence=None, text=None, gender=None) for row in corpus]
    manifest = corpus.with_rows(rows)
    metrics = [SpeakerSimilarity(Timbre(), manifest), Spectral()]

    def silent(requests: list) -> list[Audio]:
        return [Audio(np.zeros(RATE, np.float32), RATE) for _ in requests]

    for convert in (silent, lambda requests: [asked.source for asked in requests]):
        found = run({"unseen": pick_trials(manifest, "unseen", speakers=2)}, convert, copy, manifest, metrics)
        write_report(tmp_path / "report.html", [found], "x", {})
        text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
        assert "nan" not in text.split("Unseen voices", 1)[1] and "–" in text
        assert ("gave no usable sound" in text) == (convert is silent)


def test_without_a_verifier_there_is_no_scatter(corpus: Manifest, tmp_path: Path) -> None:
    found = run(
        {"unseen": pick_trials(corpus, "unseen", speakers=2)},
        lambda r: [asked.source for asked in r],
        copy,
        corpus,
        [Speed()],
    )
    write_report(tmp_path / "report.html", [found], "x", {})
    assert "Whose voice" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_metrics_file(evaluation: Evaluation, tmp_path: Path) -> None:
    payload = {
        "version": "1",
        "wall_seconds": np.float32(1.5),
        "bad": [float("nan"), (np.inf, np.int64(3))],
        "path": "ä",
    }
    path = tmp_path / "out" / "metrics.json"
    write_metrics(path, {**payload, **evaluation.summaries})
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["bad"] == [None, [None, 3]] and found["wall_seconds"] == 1.5 and found["path"] == "ä"
    assert found["unseen"]["pairs"] == 12 and len(found["unseen"]["ci"]["cosine_target"]) == 2
    assert [file.name for file in path.parent.iterdir()] == ["metrics.json"]


def test_an_unwritable_payload_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_metrics(path, {"a": 1})
    with pytest.raises(TypeError):
        write_metrics(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_trials_file(evaluation: Evaluation, tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.csv", [evaluation])
    with (tmp_path / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 14
    assert rows[0]["system"] == EVIL and rows[0]["group"] == "unseen"
    assert float(rows[0]["mcd_converted"]) == evaluation.records["unseen"][0]["mcd_converted"]


def test_players_are_bounded_and_play_what_was_given() -> None:
    long = Audio(0.1 * np.sin(np.arange(48000 * 20) * 2 * np.pi * 440 / 48000).astype(np.float32), 48000)
    import base64

    uri = audio_uri(long)
    samples, rate = soundfile.read(BytesIO(base64.b64decode(uri.split(",")[1])))
    assert rate == RATE_MAX and len(samples) == int(SECONDS_MAX * RATE_MAX)
    assert np.argmax(np.abs(np.fft.rfft(samples))) / SECONDS_MAX == pytest.approx(440, abs=1)
    assert len(uri) < 1.4 * 20000 * SECONDS_MAX
    loud, _ = soundfile.read(
        BytesIO(base64.b64decode(audio_uri(Audio(30 * long.samples[:48000], 48000)).split(",")[1]))
    )
    assert np.abs(loud).max() < 1.1


def test_spectrogram_shows_a_tone_at_its_frequency() -> None:
    tone = Audio(np.sin(np.arange(RATE) * 2 * np.pi * 2000 / RATE).astype(np.float32), RATE)
    levels = spectrogram_db(tone)
    assert levels.shape[0] == 257 and levels.max() == pytest.approx(0.0, abs=1e-3)
    assert set(levels[:, 10:-10].argmax(axis=0)) == {64}
    assert levels[200, 20] < -RANGE_DB
    assert np.isfinite(spectrogram_db(Audio(np.zeros(RATE, np.float32), RATE))).all()


def test_pictures_are_png_with_content() -> None:
    from PIL import Image

    clip = Audio(speak(120.0, 1.0, 0), RATE)
    flat = Audio(np.zeros_like(clip.samples), RATE)
    shown, blank = (Image.open(BytesIO(spectrograms({"a": c, "b": c, "c": c}))).convert("RGBA") for c in (clip, flat))
    assert shown.size == blank.size and shown.size[0] > 1000
    assert len(shown.getcolors()) > len(blank.getcolors())
    records = [{"cosine_target": 0.8, "cosine_source": 0.6, "same_gender": same} for same in (True, False, None)]
    one, two = (Image.open(BytesIO(cosine_scatter(g))) for g in ({"a": records}, {"a": records, "b": []}))
    assert two.size[0] == pytest.approx(2 * one.size[0], abs=2)


def test_numbers_as_text() -> None:
    plain = Column(key="k", title="t", digits=2, unit="dB")
    assert number(3.14159, plain) == "3.14 dB"
    assert number(float("nan"), plain) == number(None, plain) == "–"
    share = Column(key="k", title="t", share=True)
    assert with_interval({"k": 0.975, "ci": {"k": [0.95, 1.0]}}, share) == "97.5 %<small>95.0 to 100.0</small>"
    assert with_interval({"k": 0.975, "ci": {"k": None}}, share) == "97.5 %"
