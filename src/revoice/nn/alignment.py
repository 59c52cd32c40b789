"""Dynamic time warping of two sequences, by numpy alone.

Compiled alternatives pay for their compiler: the first import of `librosa.sequence` on a fresh machine takes longer
than all alignments of an evaluation together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CELLS = 2**22  # of summed costs that are held at once (32 MB), or a 64th of all if that is more
_ROWS = 64  # whose distances, or steps, are computed at once


@dataclass(frozen=True)
class Alignment:
    """A warping path.

    Attributes:
        path: (P, 2) int64, from (0, 0) to (N - 1, M - 1); each step advances one or both indices by one.
        costs: (P,) Euclidean distance of the two vectors at each step.
    """

    path: NDArray[np.int64]
    costs: NDArray[np.float64]


def align(a: NDArray[np.float64], b: NDArray[np.float64]) -> Alignment:
    """The path of least summed Euclidean distance (steps of equal weight; ties prefer the diagonal).

    Cells of one anti-diagonal do not depend on each other, so each is one vector operation instead of many scalar ones
    (Sakoe and Chiba, IEEE Trans. ASSP 26(1), 1978, symmetric form without slope constraint). Summed costs are held of a
    block of rows at a time; what is left of each cell is a byte that says where its path comes from.

    Args:
        a: (N, D).
        b: (M, D).

    >>> align(np.array([[0.0], [1.0]]), np.array([[0.0], [0.0], [1.0]])).path.tolist()
    [[0, 0], [0, 1], [1, 2]]
    """
    assert len(a) and len(b), "nothing to align"
    steps = np.empty((len(a), len(b)), np.uint8)
    above = np.full(len(b) + 1, np.inf)
    above[0] = 0.0
    rows = max(CELLS // len(b), -(-len(a) // 64), 1)
    for start in range(0, len(a), rows):
        above = _block(a[start : start + rows], b, above, steps[start : start + rows])
    path = _trace(steps)
    return Alignment(path, _costs(a, b, path))


def _block(
    a: NDArray[np.float64], b: NDArray[np.float64], above: NDArray[np.float64], steps: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Write from where each cell of some rows is reached: 0 diagonal, 1 left, 2 up.

    Args:
        a, b, above: see `_accumulate`.
        steps: (R, M), written to.

    Returns:
        (M + 1,) the last row of the summed costs.
    """
    total = _accumulate(a, b, above)
    for i in range(0, len(a), _ROWS):
        part, marked = total[i : i + _ROWS + 1], steps[i : i + _ROWS]
        diagonal, left, up = part[:-1, :-1], part[1:, :-1], part[:-1, 1:]
        np.less(up, left, out=marked.view(np.bool_))
        marked += 1
        marked *= np.minimum(left, up) < diagonal
    return total[-1].copy()


def _accumulate(a: NDArray[np.float64], b: NDArray[np.float64], above: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least summed cost of reaching each cell of some rows.

    Args:
        a: (R, D).
        b: (M, D).
        above: (M + 1,) the row before the first one, border included.

    Returns:
        (R + 1, M + 1): `above`, and below it the rows behind a border of infinity.
    """
    from scipy.spatial.distance import cdist

    n, m = len(a), len(b)
    total = np.empty((n + 1, m + 1))
    total[0] = above
    total[1:, 0] = np.inf
    for i in range(0, n, _ROWS):
        total[i + 1 : i + 1 + _ROWS, 1:] = cdist(a[i : i + _ROWS], b)
    flat = total.reshape(-1)
    for k in range(n + m - 1):  # anti-diagonal i + j = k of the costs
        low, high = max(0, k - m + 1), min(n - 1, k)
        first = (low + 1) * (m + 1) + (k - low + 1)
        last = first + (high - low) * m + 1
        best = np.minimum(flat[first - 1 : last - 1 : m], flat[first - m - 1 : last - m - 1 : m])
        cells = flat[first:last:m]
        cells += np.minimum(best, flat[first - m - 2 : last - m - 2 : m], out=best)
    return total


def _trace(steps: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Walk back from the last cell."""
    i, j = steps.shape[0] - 1, steps.shape[1] - 1
    path = []
    while i >= 0:
        path.append((i, j))
        step = steps.item(i, j)
        i, j = i - (step != 1), j - (step != 2)
    return np.array(path[::-1], dtype=np.int64)


def _costs(a: NDArray[np.float64], b: NDArray[np.float64], path: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distances (P,) along a path, of which neighboring cells are computed together."""
    from scipy.spatial.distance import cdist

    found = []
    for first in range(0, len(path), _ROWS):
        i, j = path[first : first + _ROWS].T
        found.append(cdist(a[i[0] : i[-1] + 1], b[j[0] : j[-1] + 1])[i - i[0], j - j[0]])
    return np.concatenate(found)
