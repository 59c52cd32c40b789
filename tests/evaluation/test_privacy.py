"""Attackers on voices of which it is known how well they can be told apart, and the report of a small corpus."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from revoice.audio.io import Audio, write_audio
from revoice.cli import evaluate
from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.evaluation.privacy.attackers import Embedded, attack, learned, make_trials
from revoice.evaluation.privacy.cast import RATE, Cast, Utterance, choose_cast
from revoice.evaluation.privacy.methods import BySignal, Method, Untouched
from revoice.evaluation.privacy.session import PrivacyProtocol, _outcome
from tests.conftest import TINY, compose_config

SIZE = 24
SETTINGS = [*TINY, "evaluation.speakers=4", "evaluation.enrolled=1", "evaluation.asked=1", "evaluation.strangers=2"]


def utterance(speaker: int, number: int, role: str, gender: str | None = None) -> Utterance:
    name = f"{role[0]}{speaker}"
    row = Row(id=f"{name}-{number}-{role}", path="", speaker=name, gender=gender or "FM"[speaker % 2])
    return Utterance(row.id, row, Audio(np.zeros(RATE, np.float32), RATE))


def cast_of(voices: int = 20, strangers: int = 30, each: int = 4) -> Cast:
    def people(role: str, count: int, number: int) -> list[Utterance]:
        named = [utterance(s, n, role) for s in range(count) for n in range(number)]
        return named

    enrolled, asked = people("known", voices, 3), people("known2", voices, each)
    return Cast(enrolled, asked, people("stranger", strangers, each))


def vectors(utterances: list[Utterance], own: float, seed: int, nuisance: float = 0.0) -> np.ndarray:
    """A direction per voice times `own`, noise, and a strong nuisance in the first dimensions."""
    draws = np.random.default_rng(seed)
    found = []
    for u in utterances:
        voice = np.random.default_rng([ord(u.row.speaker[0]), int(u.row.speaker[1:])]).standard_normal(SIZE)
        voice[:4] = 0.0
        one = own * voice + draws.standard_normal(SIZE)
        one[:4] += nuisance * draws.standard_normal(4)
        found.append(one / np.linalg.norm(one))
    return np.array(found, np.float32)


def embedded(cast: Cast, original: float, hidden: float, nuisance: float = 0.0) -> Embedded:
    return Embedded(
        vectors(cast.enrolled, original, 0),
        vectors(cast.enrolled, hidden, 1, nuisance),
        vectors(cast.asked, hidden, 2, nuisance),
        vectors(cast.strangers, hidden, 3, nuisance),
    )


def test_trials_are_all_of_one_gender_unless_asked_otherwise() -> None:
    cast = cast_of(voices=6)
    within, across = make_trials(cast, True), make_trials(cast, False)
    assert len(across.same) == 6 * len(cast.asked) and across.same.sum() == len(cast.asked)
    assert len(within.same) == 3 * len(cast.asked) and within.same.sum() == len(cast.asked)
    assert all(int(a[1:]) % 2 == int(b[1:]) % 2 for a, b in within.pairs)
    unknown = Cast(cast.enrolled, [utterance(0, 9, "known2", gender="?")], [])
    assert len(make_trials(unknown, False).same) == 6


def test_what_is_plain_is_found_and_what_is_gone_is_not() -> None:
    cast = cast_of()
    trials = make_trials(cast, True)
    plain = attack(cast, trials, embedded(cast, 3.0, 3.0))
    assert all(error.rate < 0.05 for error in plain.values()) and set(plain) == {
        "ignorant",
        "semi_informed",
        "informed",
    }
    gone = attack(cast, trials, embedded(cast, 3.0, 0.0))
    assert all(0.4 < error.rate < 0.6 for error in gone.values())
    assert all(e.interval is not None and e.interval.low < e.rate < e.interval.high for e in gone.values())
    assert gone["ignorant"].mated == 80 and gone["ignorant"].nonmated == 80 * 9


def test_the_informed_attacker_learns_what_to_look_past() -> None:
    cast = cast_of()
    found = attack(cast, make_trials(cast, True), embedded(cast, 1.5, 1.5, nuisance=12.0))
    assert found["semi_informed"].rate > 0.3 and found["informed"].rate < found["semi_informed"].rate - 0.15


@pytest.mark.parametrize("noise", [0.5, 1.0])
@pytest.mark.parametrize("nuisance", [0.0, 1.5])
def test_who_has_learned_more_errs_no_more(noise: float, nuisance: float) -> None:
    """Numbers of a rectifier, as Resemblyzer's are: far from zero on average, and more than there are strangers."""
    cast, rates = cast_of(voices=12, strangers=40), []
    for seed in range(4):
        draws = np.random.default_rng(seed)
        mean, ways = draws.standard_normal(64), draws.standard_normal((10, 64)) / 10**0.5
        people = {u.row.speaker: draws.standard_normal(64) for u in [*cast.enrolled, *cast.strangers]}

        def draw(utterances: list[Utterance]) -> np.ndarray:
            size = len(utterances)
            own = np.stack([people[u.row.speaker] for u in utterances])  # noqa: B023
            own = own + mean + noise * draws.standard_normal((size, 64))  # noqa: B023
            own = np.maximum(own + nuisance * draws.standard_normal((size, 10)) @ ways, 0.0)  # noqa: B023
            return (own / np.linalg.norm(own, axis=1, keepdims=True)).astype(np.float32)

        vectors = Embedded(*(draw(part) for part in (cast.enrolled, cast.enrolled, cast.asked, cast.strangers)))
        found = attack(cast, make_trials(cast, False), vectors)
        rates.append((found["semi_informed"].rate, found["informed"].rate))
    semi_informed, informed = np.mean(rates, axis=0)
    assert informed <= semi_informed


def test_strangers_who_never_vary_teach_nothing_but_their_mean() -> None:
    strangers = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    (seen,) = learned(strangers, [*"aabbccdd"], strangers)
    centered = strangers - 0.25
    expected = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    assert seen @ seen.T == pytest.approx(expected @ expected.T, abs=1e-6)


def test_a_few_strangers_with_numbers_that_never_vary_are_enough() -> None:
    cast = cast_of(strangers=3, each=2)
    there = embedded(cast, 3.0, 3.0)
    still = there.strangers.copy()
    still[:, 10:] = 0.0  # as the rectifiers of an encoder leave them
    found = attack(cast, make_trials(cast, True), Embedded(there.original, there.enrolled, there.asked, still))
    assert np.isfinite(found["informed"].rate)


def test_a_shift_of_all_voices_fools_only_who_does_not_know_it() -> None:
    cast = cast_of()
    there = embedded(cast, 3.0, 3.0)
    turn = np.roll(np.eye(SIZE, dtype=np.float32), 7, axis=0)
    turned = Embedded(there.original, there.enrolled @ turn, there.asked @ turn, there.strangers @ turn)
    found = attack(cast, make_trials(cast, True), turned)
    assert found["ignorant"].rate > 0.35 and found["semi_informed"].rate < 0.05


def test_without_strangers_nobody_is_informed() -> None:
    cast = cast_of(strangers=0)
    assert "informed" not in attack(cast, make_trials(cast, True), embedded(cast, 1.0, 1.0))


class First:
    """A verifier that says one of the first samples' signs."""

    name = "first"

    def embed(self, clips: list[Audio]) -> np.ndarray:
        found = np.stack([clip.samples[:SIZE] for clip in clips])
        return found / np.linalg.norm(found, axis=1, keepdims=True)


class Failing(Method):
    """Makes nothing of one recording, and of a whole voice if asked to."""

    def __init__(self, fails: str) -> None:
        self.fails = fails

    def hide(self, utterances, by):
        return {u.key: "cannot" if u.key.startswith(self.fails) else u.clip for u in utterances}


def test_what_fails_is_told_and_left_out() -> None:
    cast = cast_of(voices=4, strangers=0)
    draws = np.random.default_rng(0)
    clipped = [
        [Utterance(u.key, u.row, Audio(draws.standard_normal(RATE).astype(np.float32), RATE)) for u in part]
        for part in (cast.enrolled, cast.asked)
    ]
    cast, verifier = Cast(*clipped, []), First()
    original = verifier.embed([u.clip for u in cast.enrolled])
    trials = make_trials(cast, True)
    found = _outcome("x", Failing("k0-0-known2"), cast, trials, verifier, original, [], 0)
    assert list(found.failed) == ["k0-0-known2"] and found.errors["ignorant"].mated == len(cast.asked) - 1
    with pytest.raises(UserError, match="all recordings of a voice"):
        _outcome("x", Failing("k0-"), cast, trials, verifier, original, [], 0)


def corpus(root: Path, clips: dict[str, list[float]]) -> Manifest:
    """Noise of so many seconds for each voice; the first letter is its gender."""
    rows, draws = [], np.random.default_rng(0)
    for speaker, lengths in clips.items():
        for i, seconds in enumerate(lengths):
            path = f"{speaker}{i}.wav"
            if seconds:
                write_audio(root / path, 0.1 * draws.standard_normal(int(seconds * 8000)).astype(np.float32), 8000)
            else:
                (root / path).write_bytes(b"broken")
            rows.append(Row(id=f"{speaker}-{i}", path=path, speaker=speaker, gender=speaker[0], split="train"))
    return Manifest("toys", root, tuple(rows))


def test_who_takes_part(tmp_path: Path) -> None:
    plenty = {f"{'FM'[i % 2]}{i}": [1.2] * 4 for i in range(8)}
    manifest = corpus(tmp_path, {**plenty, "Fx": [0, 1.2, 0.3], "Mlong": [13.0]})
    cast = choose_cast(manifest, ["train"], speakers=6, enrolled=2, asked=2, strangers=3, each=3)
    assert len(cast.speakers) == 6 and sum(name[0] == "F" for name in cast.speakers) == 3
    assert len(cast.enrolled) == 12 and len(cast.asked) == 12
    assert not {u.key for u in cast.enrolled} & {u.key for u in cast.asked}
    others = {u.row.speaker for u in cast.strangers}
    assert len(others) == 3 and not others & set(cast.speakers)
    pieces = [u for u in cast.strangers if u.row.speaker == "Mlong"]
    assert len(pieces) in (0, 3) and all(3.9 < u.clip.seconds < 4.5 for u in pieces)
    assert all(clip.clip.sample_rate == RATE for clip in cast.enrolled)
    again = choose_cast(manifest, ["train"], speakers=6, enrolled=2, asked=2, strangers=3, each=3)
    assert [u.key for u in again.asked] == [u.key for u in cast.asked]
    with pytest.raises(UserError, match=r"evaluation\.enrolled"):
        choose_cast(manifest, ["train"], speakers=6, enrolled=4, asked=2, strangers=3, each=3)


def test_a_voice_is_not_asked_about_in_the_take_that_it_is_known_by(tmp_path: Path) -> None:
    """Two microphones heard each take; the same words in another emotion are another one."""
    whole = corpus(tmp_path, {f"{'FM'[i % 2]}{i}": [1.2] * 6 for i in range(3)})

    def told(row: Row) -> Row:
        number = int(row.id.split("-")[1])
        return replace(row, sentence=f"s{number // 2}", emotion="angry" if number == 5 else None)

    manifest = whole.with_rows(told(row) for row in whole)
    cast = choose_cast(manifest, ["train"], speakers=3, enrolled=2, asked=4, strangers=0, each=1)
    takes = [(u.row.speaker, u.row.sentence, u.row.emotion) for u in (*cast.enrolled, *cast.asked)]
    assert len(takes) == len(set(takes)) == 3 * 4


def test_an_attacker_draws_otherwise_than_who_hides() -> None:
    from revoice.audio.anonymization import ANONYMIZERS

    method = BySignal(ANONYMIZERS.build("noise", {}), {})
    one = Utterance("a", Row(id="a", path="", speaker="a"), Audio(np.ones(100, np.float32), RATE))
    made = [method.hide([one], by)["a"].samples for by in ("user", "user", "attacker")]
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])
    assert np.array_equal(Untouched().hide([one], "user")["a"].samples, one.clip.samples)


def test_the_command_reports_methods_in_one_table(workplace: Path, tmp_path: Path) -> None:
    only = [f"evaluation.methods.{name}=null" for name in METHODS if name not in ("noise", "mcadams")]
    values = compose_config("evaluate", "evaluation=privacy", *SETTINGS, *only, folder=workplace)
    values["evaluation"]["methods"]["noise"]["snr"] = -10.0
    values["out"] = str(tmp_path / "report")
    evaluate.task(values, tmp_path)
    found = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert list(found["methods"]) == ["original", "mcadams", "noise"]
    assert found["methods"]["noise"]["destroys_words"] and not found["methods"]["original"]["destroys_words"]
    assert found["methods"]["original"]["words"][0]["rise"] == 0
    rows = list(csv.DictReader((tmp_path / "report" / "methods.csv").open()))
    assert [row["method"] for row in rows] == ["original", "mcadams", "noise"] and float(rows[2]["phones_rise"]) > 0.1
    clips = list(csv.DictReader((tmp_path / "report" / "clips.csv").open()))
    assert len(clips) == 3 * found["asked"] and all("heard_by_phones" in row for row in clips)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "destroys words" in page and "Semi-informed" in page and "data:image/png" in page


@pytest.mark.slow
def test_a_converter_hides_by_pseudo_voices(workplace: Path, trained: Path, tmp_path: Path) -> None:
    pool = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed"))
    only = [f"evaluation.methods.{name}=null" for name in METHODS]
    values = compose_config("evaluate", "evaluation=privacy", *SETTINGS, *only, folder=workplace)
    values["evaluation"] |= {"recognizer": None, "asked": 1, "voices": {"pool": str(pool)}, "strangers": 0}
    values |= {
        "ckpt": str(trained),
        "out": str(tmp_path / "report"),
        "vocoder": {"name": "griffin_lim", "iterations": 1},
    }
    evaluate.task(values, tmp_path)
    found = json.loads((tmp_path / "report" / "metrics.json").read_text())["methods"]
    assert len(found) == 2 and not found["original"]["words"]
    name = next(name for name in found if name != "original")
    assert name.endswith("(pseudo)") and set(found[name]["attackers"]) == {"ignorant", "semi_informed"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"methods": {"a": {"name": "wrold"}}}, "did you mean 'world'"),
        ({"methods": {"a": {"name": "world", "f0_flat": 2}}}, "evaluation.methods.a.f0_flat=2"),
        ({"methods": {"a": {}}}, "evaluation.methods.a.name is missing"),
        ({"methods": {"original": {"name": "noise"}}}, "evaluation.methods.original"),
        ({"speakers": 2}, "evaluation.speakers=2"),
        ({"verifier": "resembl"}, "resemblyzer"),
        ({"voices": {"per": "nobody"}}, "evaluation.voices.per"),
        ({"recognizer": {"name": "phnes"}}, "phones"),
    ],
)
def test_wrong_settings_are_told_before_the_work(workplace: Path, settings: dict, words: str) -> None:
    values = compose_config("evaluate", "evaluation=privacy", *TINY, folder=workplace)
    values["evaluation"] |= settings
    with pytest.raises(UserError) as found:
        evaluate.check(values)
    assert words in str(found.value)


def _names() -> list[str]:
    import yaml

    from revoice.audio.presets import config_dir

    return list(yaml.safe_load((config_dir() / "evaluation" / "privacy.yaml").read_text())["methods"])


METHODS = _names()


def test_the_default_of_the_package_is_that_of_the_yaml_files(workplace: Path) -> None:
    from revoice.audio.anonymization import ANONYMIZERS
    from revoice.audio.anonymizers.world import DEFAULT

    command = compose_config("convert", "model=anonymizer", folder=workplace)["model"]["by"]
    report = compose_config("evaluate", "evaluation=privacy", *TINY, folder=workplace)["evaluation"]["methods"][
        "default"
    ]
    made = [vars(ANONYMIZERS.build(*ANONYMIZERS.named(values, "by"))) for values in (DEFAULT, command, report)]
    assert made[0] == made[1] == made[2]
    assert PrivacyProtocol().speakers == 16
