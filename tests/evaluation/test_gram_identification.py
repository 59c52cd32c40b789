"""Speakers by the nearest Gram matrix: against the plain form, on sets with a known answer, and from the command."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import revoice.models.random_cnn.search as style_transfer
from revoice.audio.features import extract
from revoice.audio.io import read_audio, write_audio
from revoice.audio.presets import config_dir, load_preset
from revoice.cli.evaluate import EXPERIMENTS, task
from revoice.data.corpora.manifest import Manifest
from revoice.errors import UserError
from revoice.models.random_cnn.features import RandomFeatures
from revoice.settings import from_mapping
from revoice.studies.gram_gallery import Exact, Gallery, Projected, product
from revoice.studies.gram_identification import choose, identify_speakers
from revoice.studies.gram_protocol import PUBLISHED, WEIGHTS, GramProtocol, Identification, Outcome, Variant
from revoice.studies.gram_report import confusions, result_line, write_identification
from tests.conftest import TINY, compose_config

SPEC = load_preset("log1p_22k")
SMALL = GramProtocol(speakers=3, utterances=5, train=3, channels=2, seeds=1)
NETWORKS = [
    RandomFeatures.draw(0, channels=4),
    RandomFeatures.draw(1, channels=3, kernel=(3, 3)),
    RandomFeatures.draw(2, channels=3, kernel=(3, 2), layers=2),
]


def spectrograms(*frames: int, rows: int = 14) -> list[Tensor]:
    """Random ones whose columns resemble each other, as those of speech do."""
    draw = torch.Generator().manual_seed(sum(frames))
    shapes = torch.rand(rows, 3, generator=draw)
    return [(shapes @ torch.rand(3, count, generator=draw) ** 2 + 0.1).log1p() for count in frames]


def plain(network: RandomFeatures, clip: Tensor) -> list[Tensor]:
    """Gram matrices (R, R) over time of each layer."""
    rows = [features.flatten(0, 1).double() for features in network(clip)]
    return [features @ features.T for features in rows]


def plain_distance(network: RandomFeatures, one: Tensor, other: Tensor) -> float:
    """As published: the mean squared difference of all entries."""
    pairs = zip(plain(network, one), plain(network, other), strict=True)
    return float(np.mean([float((a - b).square().mean()) for a, b in pairs]))


def distances(gallery: Gallery, energies: list[float], clip: Tensor) -> Tensor:
    products = gallery.compare(clip)
    return torch.tensor(energies, dtype=torch.float64) + products.own - 2.0 * products.others


def windows(clips: list[Tensor], network: RandomFeatures) -> Tensor:
    wide = network.field[1]
    return torch.cat([clip.unfold(1, wide, 1) for clip in clips], dim=1)


@pytest.mark.parametrize("network", NETWORKS)
def test_distances_equal_those_of_whole_gram_matrices(network: RandomFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = spectrograms(9, 30, 5, 17, 12)
    for block in (1000, 8):
        monkeypatch.setattr(style_transfer, "BLOCK", block)
        for gallery in (Exact(network), Projected(network, windows(clips, network), 1e-9)):
            energies = [gallery.add(clip) for clip in clips[:4]]
            found = distances(gallery, energies, clips[4])
            wanted = torch.tensor([plain_distance(network, clips[4], clip) for clip in clips[:4]], dtype=torch.float64)
            assert torch.allclose(found, wanted, rtol=2e-5)


def test_one_clip_is_at_no_distance_from_itself() -> None:
    clip = spectrograms(40)[0]
    gallery = Exact(NETWORKS[0])
    assert abs(distances(gallery, [gallery.add(clip)], clip).item()) < 1e-6 * product(NETWORKS[0], clip, clip)


def test_projection_is_as_near_as_its_precision_says(corpus: Manifest) -> None:
    network = RandomFeatures.draw(0, channels=4)
    clips = [extract(read_audio(corpus.file(row), SPEC.sample_rate).samples, SPEC) for row in list(corpus)[::4]]
    exact, wide = Exact(network), windows(clips, network)
    energies = [exact.add(clip) for clip in clips[1:]]
    wanted = distances(exact, energies, clips[0]).sqrt()
    errors, axes = [], []
    for precision in (1e-2, 1e-3, 1e-4):
        near = Projected(network, wide, precision)
        energies = [near.add(clip) for clip in clips[1:]]
        found = distances(near, energies, clips[0]).sqrt()
        errors.append(float(((found - wanted) / wanted).abs().max()))
        axes.append(near.axes)
        # (k, k) is all that is kept of a clip
        assert {len(kept) for kept in near._kept} == {near.axes * (near.axes + 1) // 2}
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.01
    assert axes[0] < axes[1] < axes[2] < 255 * 4 / 4


def test_memory_does_not_follow_the_length_of_a_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    network, seen = RandomFeatures.draw(0, channels=4), []
    short, long = spectrograms(50, 400)
    gallery = Projected(network, windows([short, long], network), 1e-6)
    whole = gallery.add(long)
    monkeypatch.setattr(style_transfer, "BLOCK", 16)
    call = RandomFeatures.__call__
    monkeypatch.setattr(RandomFeatures, "__call__", lambda self, part: seen.append(part.shape[1]) or call(self, part))
    assert gallery.add(long) == pytest.approx(whole, rel=1e-5)
    assert max(seen) == 16 and sum(seen) == 400


def test_what_does_not_matter_changes_nothing() -> None:
    network, (clip, other) = NETWORKS[0], spectrograms(30, 25)
    twice = torch.cat([clip, clip], dim=1)

    def distance(one: Tensor, normalize: str) -> float:
        gallery, weight = Exact(network), WEIGHTS[normalize]
        energy, products = gallery.add(other), gallery.compare(one)
        a, b = weight(one), weight(other)
        return float(a * a * products.own + b * b * energy - 2 * a * b * products.others[0])

    assert distance(twice, "duration") == pytest.approx(distance(clip, "duration"), rel=1e-5)
    assert distance(twice, "energy") == pytest.approx(distance(clip, "energy"), rel=1e-5)
    assert distance(2 * clip, "energy") == pytest.approx(distance(clip, "energy"), rel=1e-5)
    assert distance(twice, "nothing") != pytest.approx(distance(clip, "nothing"), rel=0.5)


@pytest.fixture(scope="module")
def found(corpus: Manifest) -> Identification:
    return identify_speakers(corpus, replace(SMALL, kernels=("3x1", "3x3"), seeds=(4, 7)), SPEC, progress=False)


def test_voices_with_their_own_pitch_are_told_apart(found: Identification) -> None:
    assert found.cast.speakers == ["anna", "bert", "cleo"]  # the first by name
    assert [row.id for row in found.cast.known[:3]] == ["anna_0", "anna_1", "anna_2"]
    assert [row.id for row in found.cast.asked[:2]] == ["anna_3", "anna_4"]
    assert [outcome.variant for outcome in found.outcomes[:4]] == [
        Variant("3x1", "nothing", 100000.0), *(Variant("3x1", name, None) for name in WEIGHTS)
    ]  # fmt: skip
    assert len(found.outcomes) == 8 and set(found.axes) == {"3x1", "3x3"}
    for outcome in found.outcomes:
        assert set(outcome.by_seed) == {4, 7} and len(outcome.guesses) == 2 * 6
    assert found.best.accuracy > 0.8 > found.chance == 1 / 3
    assert 0.0 < found.left_out < 0.05


def test_few_voices_are_not_all_voices(found: Identification) -> None:
    """Three of which every clip is known may be half of all; one that is often mistaken widens what may be."""
    guess = found.outcomes[0].guesses[0]

    def outcome(right: dict[str, list[bool]]) -> Outcome:
        guesses = [
            replace(guess, row=replace(guess.row, id=f"{voice}_{clip}", speaker=voice), answer=voice if known else "x")
            for voice, clips in right.items()
            for clip, known in enumerate(clips)
        ]
        return Outcome(found.outcomes[0].variant, guesses)

    perfect = outcome({voice: [True] * 8 for voice in "abc"}).interval()
    assert perfect is not None and perfect.high == 1.0 and 0.4 < perfect.low < 0.5
    assert outcome({voice: [True] * 8 for voice in "ab"}).interval() is None
    even = outcome({voice: [True] * 6 + [False] * 2 for voice in "abcd"}).interval()
    uneven = outcome({"a": [True] * 8, "b": [True] * 8, "c": [True] * 8, "d": [False] * 8}).interval()
    assert even is not None and uneven is not None and uneven.low < even.low and uneven.low < 0.3


def test_nothing_left_out_gives_the_published_distances(corpus: Manifest, found: Identification) -> None:
    protocol = replace(SMALL, speakers=2, utterances=3, train=2, precision=0.0)
    exact = identify_speakers(corpus, protocol, SPEC, seed=4, progress=False)
    assert exact.axes == {} and exact.left_out == 0.0
    clips = {
        row.id: extract(read_audio(corpus.file(row), SPEC.sample_rate).samples, SPEC)
        for row in (*exact.cast.known, *exact.cast.asked)
    }
    network = protocol.network("3x1", 4)
    grams = {id: plain(network, clip)[0] for id, clip in clips.items()}
    for outcome in exact.outcomes:
        weight = WEIGHTS[outcome.variant.normalize]
        for guess in outcome.guesses:
            own = grams[guess.row.id] * weight(clips[guess.row.id])
            all_ = {
                row.id: float((own - grams[row.id] * weight(clips[row.id])).square().mean()) for row in exact.cast.known
            }
            assert guess.distance == pytest.approx(min(all_.values()), rel=1e-4)
            assert guess.nearest.id == min(all_, key=lambda id: all_[id])


def test_beyond_the_cap_there_is_no_answer(corpus: Manifest) -> None:
    def run(cap: float | None) -> Identification:
        return identify_speakers(corpus, replace(SMALL, cap=cap, normalize=("nothing",)), SPEC, progress=False)

    free = run(None).outcomes
    assert len(free) == 1 and free[0].unanswered == 0.0
    reached = sorted(guess.distance for guess in free[0].guesses)
    middle = reached[len(reached) // 2]
    capped, same = run(middle).outcomes
    assert same.guesses == free[0].guesses
    for guess in capped.guesses:  # a distance of just the cap is none below it
        assert (guess.answer == "") == (guess.distance >= middle)
        assert guess.right == (guess.distance < middle and guess.nearest.speaker == guess.row.speaker)
    assert 0.0 < capped.unanswered < 1.0 and capped.accuracy <= same.accuracy
    matrix = confusions(capped, ["anna", "bert", "cleo"])
    assert matrix.sum() == 6 and matrix[:, -1].sum() == sum(not guess.answer for guess in capped.guesses)
    assert f"{100 * capped.unanswered:.1f} % without an answer" in result_line(capped)


def noises(root: Path, counts: dict[str, int]) -> None:
    """Voices of colored noise; clips of 0.4 s."""
    for place, (voice, count) in enumerate(counts.items()):
        for number in range(count):
            draw = np.random.default_rng(100 * place + number)
            spectrum = np.fft.rfft(draw.standard_normal(8820))
            spectrum *= np.exp(-(((np.arange(len(spectrum)) / len(spectrum) - 0.15 * (place + 1)) / 0.08) ** 2))
            wave = np.fft.irfft(spectrum)
            write_audio(root / voice / f"{number:02d}.wav", 0.3 * wave / np.abs(wave).max(), 22050)


def folder_config(root: Path, *overrides: str) -> dict:
    setting = ["data=folder", "evaluation=gram_identification", "evaluation.channels=4", "device=cpu"]
    config = compose_config("evaluate", *setting, *overrides, folder=root)
    config["data"]["root"], config["out"] = str(root / "voices"), str(root / "out")
    return config


SIZES = ["evaluation.speakers=3", "evaluation.utterances=4", "evaluation.train=2"]


def test_what_cannot_be_read_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    noises(tmp_path / "voices", {"a": 5, "b": 4, "few": 3, "c": 4, "d": 6})
    (tmp_path / "voices" / "a" / "01.wav").write_bytes(b"not audio")
    write_audio(tmp_path / "voices" / "b" / "00.wav", np.zeros(8820, np.float32), 22050)
    found = task(folder_config(tmp_path, *SIZES), tmp_path)
    assert isinstance(found, Identification)
    assert found.cast.speakers == ["a", "c", "d"]  # b has three left, as few has
    assert [row.path for row in found.cast.known[:2]] == ["a/00.wav", "a/02.wav"]
    assert [row.path for row in found.cast.asked[:2]] == ["a/03.wav", "a/04.wav"]
    assert set(found.cast.unusable) == {"a/01.wav", "b/00.wav"}
    assert all(outcome.accuracy == 1.0 for outcome in found.outcomes)
    printed = capsys.readouterr().out
    assert "3x1, per energy: 100.0 % +- 0.0 (5 seeds)" in printed and "chance 33.3 %" in printed
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(metrics["passed_over"]) == {"a/01.wav", "b/00.wav"} and metrics["published"] is None
    assert [v["accuracy"] for v in metrics["variants"]] == [1.0] * 4 and len(metrics["variants"][0]["by_seed"]) == 5
    assert metrics["known"] == metrics["asked"] == 6
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 5 * 6 and rows[0]["speaker"] == rows[0]["answer"] == "a"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "2 recordings passed over" in page and page.count("data:image/png") == 1 and "per energy" in page


def test_too_few_recordings_are_told_with_what_would_fit(tmp_path: Path) -> None:
    noises(tmp_path / "voices", {"a": 6, "b": 5, "c": 5, "d": 1})
    with pytest.raises(UserError, match="0 voices have 15 .*type ") as caught:
        task(folder_config(tmp_path), tmp_path)
    typed = str(caught.value).partition("type ")[2].split()
    assert typed == ["evaluation.speakers=3", "evaluation.utterances=5", "evaluation.train=3"]
    assert isinstance(task(folder_config(tmp_path, *typed, "evaluation.seeds=1"), tmp_path), Identification)
    (tmp_path / "voices" / "b" / "02.wav").write_bytes(b"not audio")
    with pytest.raises(UserError, match="2 voices have 5 usable .* type evaluation.speakers=3 evaluation.utterances=4"):
        task(folder_config(tmp_path, *typed), tmp_path)


def test_two_voices_with_two_clips_are_the_least(tmp_path: Path) -> None:
    noises(tmp_path / "voices", {"a": 6, "b": 1})
    with pytest.raises(UserError, match="take another corpus"):
        task(folder_config(tmp_path), tmp_path)


def test_clips_shorter_than_the_network_sees_are_passed_over(tmp_path: Path) -> None:
    noises(tmp_path / "voices", {"a": 4, "b": 3})
    write_audio(tmp_path / "voices" / "a" / "00.wav", 0.1 * np.ones(300) * (-1) ** np.arange(300), 22050)
    config = folder_config(tmp_path, "evaluation.kernels=[1x1,2x9]", "evaluation.seeds=1")
    config["evaluation"].update(speakers=2, utterances=3, train=2, seconds=0.2)
    found = task(config, tmp_path)
    assert list(found.cast.unusable) == ["a/00.wav"] and found.cast.windows.shape[2] == 9
    assert {outcome.variant.kernel for outcome in found.outcomes} == {"1x1", "2x9"}


def test_samples_come_from_all_known_clips_and_are_few(corpus: Manifest) -> None:
    cast = choose(corpus, replace(SMALL, kernels=("3x3",)), SPEC)
    assert cast.windows.shape[0] == 257 and cast.windows.shape[2] == 3
    assert 9 * 100 <= cast.windows.shape[1] <= 2048 + 9


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"train": 15}, "utterances - 1"),
        ({"speakers": 1}, "expected a whole number from 2"),
        ({"seeds": ()}, "evaluation.seeds=.*: expected a whole number from 1, or a list"),
        ({"seeds": 0.5}, "evaluation.seeds=0.5: expected a whole number from 1, or a list"),
        ({"seeds": (2**64,)}, "from 0, below"),
        ({"seeds": (3, 3)}, "different numbers"),
        ({"slope": float("nan")}, "evaluation.slope=nan"),
        ({"kernels": 3}, "3x1 or 3x3"),
        ({"kernels": ("3x1", "3by3")}, "3by3.*e.g. 3x1 or 3x3"),
        ({"normalize": "durations"}, "did you mean 'duration'"),
        ({"normalize": (), "cap": None}, "nothing to do"),
        ({"channels": 0}, "1 to 1024"),
        ({"cap": 0}, "evaluation.cap"),
        ({"seconds": -1.0}, "evaluation.seconds"),
        ({"precision": 0.5}, "evaluation.precision"),
        ({"speeches": 1}, "unknown setting of evaluation"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(setting: dict, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        from_mapping(GramProtocol, setting, "evaluation")
    assert "\n" not in str(caught.value)


def test_a_kernel_higher_than_the_spectrogram(corpus: Manifest) -> None:
    with pytest.raises(UserError, match="sees 295 rows, a spectrogram has 257"):
        identify_speakers(corpus, replace(SMALL, kernels=("99x1",), layers=3), SPEC)


@pytest.mark.parametrize("name", sorted(path.stem for path in (config_dir() / "evaluation").glob("*.yaml")))
def test_every_evaluation_config_is_understood(name: str, tmp_path: Path) -> None:
    config = compose_config("evaluate", f"evaluation={name}", folder=tmp_path)
    assert config["evaluation"]["name"] in EXPERIMENTS
    if name.startswith("gram_identification"):
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in config["evaluation"].items() if k != "name"}
        protocol = from_mapping(GramProtocol, settings, "evaluation")
        assert (protocol.speakers, protocol.utterances, protocol.train) in PUBLISHED
        assert config["features"]["n_fft"] == 512 and config["features"]["scale"] == "log1p"
        fewer = {key: getattr(protocol, key) for key in ("speakers", "utterances", "train")}
        assert protocol == GramProtocol(**fewer)  # the defaults of the class are those of the file


@pytest.mark.slow
def test_the_command_on_the_embedded_corpus(workplace: Path, tmp_path: Path) -> None:
    small = ["evaluation.speakers=4", "evaluation.utterances=8", "evaluation.train=4", "evaluation.channels=2"]
    config = compose_config("evaluate", "evaluation=gram_identification", *TINY, *small, folder=workplace)
    config.update(out=str(tmp_path / "out"), device="cpu")
    config["evaluation"]["seeds"] = 2
    found = task(config, tmp_path)
    assert found.best.accuracy > 0.5 and len(found.cast.asked) == 16
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"metrics.json", "predictions.csv", "report.html"}


def test_the_report_stands_beside_the_published_number(found: Identification, tmp_path: Path) -> None:
    published = replace(found, protocol=replace(found.protocol, speakers=30, utterances=15, train=9))
    assert found.published is None and published.published == 0.456
    write_identification(tmp_path, published)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "45.6 %" in page and "published (VCTK)" in page and "4, 7" in page
    assert json.loads((tmp_path / "metrics.json").read_text())["published"] == 0.456
