import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from revoice.nn import alignment
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


def plain(a: np.ndarray, b: np.ndarray) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Path and costs by a whole table, cell by cell."""
    costs = cdist(a, b)
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0.0
    for i, j in np.ndindex(*costs.shape):
        total[i + 1, j + 1] = costs[i, j] + min(total[i, j], total[i + 1, j], total[i, j + 1])
    i, j = costs.shape
    path = [(i - 1, j - 1)]
    while (i, j) != (1, 1):
        ways = [(i - 1, j - 1), (i, j - 1), (i - 1, j)]
        i, j = min(ways, key=lambda cell: total[cell])  # the first of equal ones
        path.append((i - 1, j - 1))
    return path[::-1], costs[tuple(np.array(path[::-1]).T)]


@pytest.mark.parametrize("cells", [1, 50, 2**22])
def test_a_block_at_a_time_gives_path_and_costs_of_the_whole_table_bit_for_bit(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignment, "CELLS", cells)
    monkeypatch.setattr(alignment, "_ROWS", 3)
    draw = np.random.default_rng(cells)
    for trial in range(60):
        a, b = (draw.standard_normal((draw.integers(1, 40), 13)) for _ in "ab")
        if trial % 2:  # few different distances: ties everywhere
            a, b = np.round(a[:, :1]), np.round(b[:, :1])
        path, costs = plain(a, b)
        found = align(a, b)
        assert [*map(tuple, found.path.tolist())] == path
        np.testing.assert_array_equal(found.costs, costs)


def test_memory_is_a_byte_for_each_cell_and_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "CELLS", 2**14)
    a, b = np.random.default_rng(0).standard_normal((2, 1200, 13))
    align(a[:9], b[:9])
    tracemalloc.start()
    align(a, b)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * len(a) * len(b)
