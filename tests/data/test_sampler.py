import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revoice.data.read.sampler import CropSampler
from revoice.errors import UserError

PINNED = [[0, 10, 0, 10], [4, 19, 1, 10], [10, 0, 10, 0], [41, 5, 34, 33]]


def sampler(lengths: list[int], speakers: list[int], **settings) -> CropSampler:
    settings = {"batch_size": 64, "frames": 50, **settings}
    return CropSampler(np.arange(len(lengths)) * 10, np.array(lengths), np.array(speakers), **settings)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(0, 5)), min_size=1, max_size=30),
    st.sampled_from(["uniform", "by_speaker"]),
    st.integers(0, 2**40),
    st.integers(0, 80),
)
def test_crops_lie_inside_their_utterances(utterances: list, mode: str, iteration: int, reference: int) -> None:
    lengths, speakers = zip(*utterances, strict=True)
    crops = sampler(list(lengths), list(speakers), mode=mode, reference=reference).draw(iteration)
    chosen, other = crops.utterances // 10, crops.references // 10
    lengths, speakers = np.array(lengths), np.array(speakers)
    assert (crops.starts >= 0).all() and (crops.starts <= np.maximum(lengths[chosen] - 50, 0)).all()
    assert (crops.reference_starts <= np.maximum(lengths[other] - reference, 0)).all()
    assert (speakers[chosen] == speakers[other]).all()
    alone = np.bincount(speakers, minlength=6)[speakers[chosen]] == 1
    assert ((chosen == other) == alone).all()


def test_who_has_one_recording_is_told_by_other_frames_of_it() -> None:
    crops = sampler([150, 90, 300], [0, 1, 2], reference=60, batch_size=600).draw(0)
    apart = (crops.reference_starts + 60 <= crops.starts) | (crops.reference_starts >= crops.starts + 50)
    room = crops.utterances != 10  # 90 frames hold no two of 50 and 60
    middle = (crops.utterances == 0) & (crops.starts > 40) & (crops.starts < 60)  # nor 150 around their middle
    assert apart[room & ~middle].all() and (crops.reference_starts >= 0).all()
    own = crops.reference_starts[crops.utterances == 20]
    assert own.min() < 10 and own.max() > 230


def test_a_batch_depends_on_seed_and_iteration_alone() -> None:
    one, two = sampler([100] * 20, [0, 1] * 10), sampler([100] * 20, [0, 1] * 10)
    two.draw(3)
    for iteration in (0, 1, 10**9):
        a, b = one.draw(iteration), two.draw(iteration)
        assert np.array_equal(a.utterances, b.utterances) and np.array_equal(a.starts, b.starts)
    assert not np.array_equal(one.draw(0).starts, one.draw(1).starts)
    assert not np.array_equal(one.draw(0).starts, sampler([100] * 20, [0, 1] * 10, seed=1).draw(0).starts)


def test_the_draws_are_pinned_for_ever() -> None:
    """The same crops on every machine and numpy."""
    crops = sampler([60, 70, 80, 90], [0, 0, 1, 1], batch_size=4, reference=20, seed=3).draw(5)
    found = [
        crops.utterances.tolist(),
        crops.starts.tolist(),
        crops.references.tolist(),
        crops.reference_starts.tolist(),
    ]
    assert found == PINNED


def test_processes_share_the_global_batch() -> None:
    whole = sampler([100] * 9, [0] * 9).draw(2)
    halves = [whole.cut(0, 32), whole.cut(32, 32)]
    assert np.array_equal(np.concatenate([half.starts for half in halves]), whole.starts)


def test_uniform_over_utterances_or_over_speakers() -> None:
    speakers = [0] * 9 + [1]
    uniform = sampler([60] * 10, speakers, batch_size=20000).draw(0)
    assert np.bincount(uniform.utterances // 10, minlength=10) / 20000 == pytest.approx(0.1, abs=0.01)
    balanced = sampler([60] * 10, speakers, batch_size=20000, mode="by_speaker").draw(0)
    assert (balanced.utterances == 90).mean() == pytest.approx(0.5, abs=0.02)
    assert np.bincount(uniform.starts, minlength=11) / 20000 == pytest.approx(1 / 11, abs=0.01)


def test_short_utterances_are_left_out() -> None:
    short = sampler([10, 100, 40], [0, 0, 1], minimum=30)
    assert short.left_out == 1 and set(short.draw(0).utterances) == {10, 20}
    assert set(sampler([10, 10], [0, 1], minimum=30).draw(0).utterances) == {0, 10}  # better than nothing


def test_unknown_mode() -> None:
    with pytest.raises(UserError, match="by_speaker"):
        sampler([1], [0], mode="speaker")
