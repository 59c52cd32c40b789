import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from revoice.nn.alignment import align


def naive(a: np.ndarray, b: np.ndarray) -> float:
    """Least summed cost, the textbook way."""
    costs = np.linalg.norm(a[:, None] - b[None], axis=2)
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            total[i + 1, j + 1] = costs[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return total[-1, -1]


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 14), m=st.integers(1, 14), seed=st.integers(0, 999))
def test_equals_the_textbook_recursion(n: int, m: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    a, b = draw.standard_normal((n, 3)), draw.standard_normal((m, 3))
    found = align(a, b)
    np.testing.assert_allclose(found.costs.sum(), naive(a, b), rtol=1e-12)
    np.testing.assert_allclose(found.costs, np.linalg.norm(a[found.path[:, 0]] - b[found.path[:, 1]], axis=1))
    steps = np.diff(found.path, axis=0)
    assert set(map(tuple, steps)) <= {(0, 1), (1, 0), (1, 1)}
    assert found.path[0].tolist() == [0, 0] and found.path[-1].tolist() == [n - 1, m - 1]


def test_repeated_frames_cost_nothing() -> None:
    a = np.random.default_rng(0).standard_normal((20, 13))
    found = align(a, np.repeat(a, 3, axis=0))
    assert found.costs.max() == 0.0
    np.testing.assert_array_equal(found.path[:, 0], np.repeat(np.arange(20), 3))
