from collections.abc import Callable

import numpy as np
import pytest

from revoice.evaluation.bootstrap import Resampling, interval, weighted_mean


def test_interval_of_normal_numbers_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    low, high = interval(values, range(400))
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.03)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(400), rel=0.1)


def test_values_of_one_pair_are_drawn_together() -> None:
    """Ten copies of each value tell nothing new: the interval stays as wide."""
    values = np.random.default_rng(1).normal(0.0, 1.0, 30)
    alone = interval(values, range(30))
    copies = interval(np.repeat(values, 10), np.repeat(range(30), 10))
    assert copies == pytest.approx(alone)
    pretended = interval(np.repeat(values, 10), range(300))
    assert pretended.high - pretended.low < 0.5 * (alone.high - alone.low)


def test_seeded() -> None:
    values = np.random.default_rng(2).normal(0.0, 1.0, 20)
    assert interval(values, range(20), seed=3) == interval(values, range(20), seed=3)
    assert interval(values, range(20), seed=3) != interval(values, range(20), seed=4)


def test_weights() -> None:
    assert weighted_mean([1.0, 3.0], [3.0, 1.0]) == 1.5
    low, high = interval([1.0, 3.0], ["a", "b"], [3.0, 1.0])
    assert (low, high) == (1.0, 3.0)


def test_nothing_to_draw_from() -> None:
    assert interval([1.0, 2.0], ["same", "same"]) is None
    assert interval([], []) is None
    assert np.isnan(weighted_mean([]))
    assert np.isnan(weighted_mean([1.0, 2.0], [0.0, 0.0]))


def conversions(voices: int, sentences: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, target and utterance of all ordered pairs, as `pick_trials` deals them."""
    pairs = np.array([(a, b) for a in range(voices) for b in range(voices) if a != b])
    unordered = np.maximum(*pairs.T) * (np.maximum(*pairs.T) - 1) // 2 + np.minimum(*pairs.T)
    return pairs[:, 0], pairs[:, 1], unordered % sentences


Draw = Callable[[], list[float]]


def noisy(spread: tuple[float, float, float, float], voices: int) -> Draw:
    """Draws values of all conversions whose mean is truly 0.

    Args:
        spread: standard deviations of what a source, a target, a sentence and a single conversion add.
    """
    draws, (source, target, said) = np.random.default_rng(5), conversions(voices)

    def draw() -> list[float]:
        of_source, of_target = draws.normal(0, spread[0], voices), draws.normal(0, spread[1], voices)
        values = of_source[source] + of_target[target] + draws.normal(0, spread[2], 20)[said]
        return list(values + draws.normal(0, spread[3], len(values)))

    return draw


@pytest.mark.parametrize("spread", [(1, 1, 0, 0.5), (0.5, 0.5, 0.5, 0.5), (0, 1, 0.3, 0.3)])
def test_the_interval_holds_the_truth_about_95_times_of_100(spread, monkeypatch) -> None:
    monkeypatch.setattr("revoice.evaluation.bootstrap.RESAMPLES", 300)
    draw, (source, target, said) = noisy(spread, 8), conversions(8)
    hits = [0, 0]
    for repeat in range(150):
        values = draw()
        found = Resampling(list(source), list(target), list(said), seed=repeat).interval(values)
        pairs = interval(values, list(zip(source, target, strict=True)), seed=repeat)
        hits[0] += found.low <= 0 <= found.high
        hits[1] += pairs.low <= 0 <= pairs.high
    assert 0.89 <= hits[0] / 150 <= 1.0
    assert hits[1] / 150 < 0.8  # a voice in many pairs is not many voices


@pytest.mark.slow
@pytest.mark.parametrize("voices", [4, 8, 16, 30])
@pytest.mark.parametrize(
    ("spread", "least", "most"),
    [
        ((1, 1, 0, 0.5), 0.92, 0.985),
        ((1, 1, 1, 0.5), 0.93, 0.995),
        ((0, 1, 0, 0.3), 0.91, 0.985),
        ((0, 0, 0, 1), 0.97, 1),
    ],
)
def test_coverage(spread, least, most, voices) -> None:
    draw, (source, target, said) = noisy(spread, voices), conversions(voices)
    hits = 0
    for seed in range(6):  # the weights do not depend on the values: a hundred of these share those
        drawn = Resampling(list(source), list(target), list(said), seed=seed)
        found = [drawn.interval(draw()) for _ in range(100)]
        hits += sum(low <= 0 <= high for low, high in found)
    print(f"{voices} voices, {spread}: {hits / 600:.3f}")
    assert least <= hits / 600 <= most


def test_a_voice_alone_on_one_side_is_not_drawn() -> None:
    values = np.random.default_rng(0).normal(0, 1, 12)
    one = Resampling([f"s{i}" for i in range(12)], ["t"] * 12, ["u"] * 12)
    low, high = one.interval(list(values))
    assert one.voices(np.ones(12, bool)) == 12 and high - low == pytest.approx(
        2 * 2.2 * values.std(ddof=1) / np.sqrt(12), rel=0.15
    )
    assert Resampling(["s"] * 3, ["t"] * 3, ["a", "b", "c"]).interval([1.0, 2.0, 3.0]) is None
    assert Resampling([], [], []).interval([]) is None


def test_no_interval_reaches_beyond_the_values_and_what_is_not_finite_is_left_out() -> None:
    source, target, said = conversions(4)
    drawn = Resampling(list(source), list(target), list(said))
    low, high = drawn.interval([1.0] * 11 + [0.0])
    assert 0.0 <= low < high <= 1.0
    assert drawn.interval([np.nan] * 12) is None
    without = Resampling(list(source[:11]), list(target[:11]), list(said[:11])).interval([1.0] * 10 + [0.0])
    assert drawn.interval([1.0] * 10 + [0.0, np.nan]) == pytest.approx(without, rel=0.05)


def test_p_values() -> None:
    """Uniform where there is no difference (never too small), tiny where there is a clear one."""
    draws, (source, target, said) = np.random.default_rng(1), conversions(8)
    drawn = Resampling(list(source), list(target), list(said))
    none = [drawn.p_value(list(draws.normal(0, 1, 8)[source] + draws.normal(0, 1, 56))) for _ in range(100)]
    assert np.mean(np.array(none) < 0.05) <= 0.1 and np.median(none) > 0.3
    assert drawn.p_value(list(1.0 + draws.normal(0, 0.1, 56))) < 1e-4
    assert drawn.p_value([0.0] * 56) == 1.0


def test_what_has_no_spread_is_not_certain() -> None:
    """A sign test over the voices: three that agree may do so by chance."""
    for voices in (3, 8):
        source, target, said = conversions(voices)
        drawn, count = Resampling(list(source), list(target), list(said)), len(source)
        for value in (1.0, -0.5, 1e6 / 3):
            assert drawn.p_value([value] * count) == 2 * 0.5**voices
        rounded = [(0.1 * i + 0.2) - 0.1 * i for i in range(count)]
        assert len(set(rounded)) > 1 and drawn.p_value(rounded) == 2 * 0.5**voices
        assert drawn.interval([0.2] * count) is None and drawn.interval([0.0] * count) is None
        part = 1.96**2 / (voices + 1.96**2)
        shares = {0.0: (-part, part), 1.0: (1 - 2 * part, 1.0), -1.0: (-1.0, 2 * part - 1)}
        for value, expected in shares.items():
            found = drawn.interval([value] * count, share=True, least=-1.0)
            assert found == pytest.approx(expected, abs=1e-4)


def test_voices_without_a_number_are_no_degrees_of_freedom() -> None:
    source, target, said = conversions(8)
    drawn = Resampling(list(source), list(target), list(said))
    between = {(0, 1), (1, 0)}  # one pair of voices
    pair = [
        1.0 + 0.01 * i if (a, b) in between else np.nan for i, (a, b) in enumerate(zip(source, target, strict=True))
    ]
    assert np.isnan(drawn.p_value(pair)) and drawn.interval(pair) is None and np.isnan(drawn.error(pair))
    few = [float(a + b) if max(a, b) < 4 else np.nan for a, b in zip(source, target, strict=True)]
    alone = [i for i, value in enumerate(few) if np.isfinite(value)]
    own = Resampling(list(source[alone]), list(target[alone]), list(said[alone]))
    assert drawn.interval(few) == pytest.approx(own.interval([few[i] for i in alone]), rel=0.05)
    weights = [float(np.isfinite(value)) for value in few]
    assert drawn.interval([1.0 if np.isnan(v) else v for v in few], weights) == drawn.interval(few)


def test_a_share_of_all_or_none_is_not_certain() -> None:
    source, target, said = conversions(8)
    drawn = Resampling(list(source), list(target), list(said))
    assert drawn.interval([1.0] * 56, share=True) == pytest.approx((0.6756, 1.0), abs=1e-3)
    assert drawn.interval([0.0] * 56, share=True) == pytest.approx((0.0, 0.3244), abs=1e-3)
    assert drawn.interval([1.0] * 55 + [0.0], share=True) == drawn.interval([1.0] * 55 + [0.0])
