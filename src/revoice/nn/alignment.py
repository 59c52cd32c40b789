"""Dynamic time warping of two sequences, by numpy alone.

Compiled alternatives pay for their compiler: the first import of `librosa.sequence` on a fresh machine takes longer
than all alignments of an evaluation together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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

    Cells of one anti-diagonal do not depend on each other, so each is one vector operation: N + M of them instead of
    N x M scalar ones (Sakoe and Chiba, IEEE Trans. ASSP 26(1), 1978, symmetric form without slope constraint).

    Args:
        a: (N, D).
        b: (M, D).

    >>> align(np.array([[0.0], [1.0]]), np.array([[0.0], [0.0], [1.0]])).path.tolist()
    [[0, 0], [0, 1], [1, 2]]
    """
    from scipy.spatial.distance import cdist

    assert len(a) and len(b), "nothing to align"
    costs = cdist(a, b)
    path = _trace(_accumulate(costs))
    return Alignment(path, costs[path[:, 0], path[:, 1]])


def _accumulate(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least summed cost (N + 1, M + 1) of reaching each cell, with a border of infinity around cell (1, 1)."""
    n, m = costs.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[1:, 1:] = costs
    flat = total.reshape(-1)
    for k in range(1, n + m - 1):  # anti-diagonal i + j = k of `costs`; cell (0, 0) holds its own cost already
        low, high = max(0, k - m + 1), min(n - 1, k)
        first = (low + 1) * (m + 1) + (k - low + 1)
        last = first + (high - low) * m + 1
        left, up, diagonal = (flat[first - back : last - back : m] for back in (1, m + 1, m + 2))
        flat[first:last:m] += np.minimum(np.minimum(left, up), diagonal)
    return total


def _trace(total: NDArray[np.float64]) -> NDArray[np.int64]:
    """Walk back from the last cell of `_accumulate`'s table."""
    i, j = total.shape[0] - 1, total.shape[1] - 1
    path = [(i, j)]
    while (i, j) != (1, 1):
        diagonal, left, up = total[i - 1, j - 1], total[i, j - 1], total[i - 1, j]
        if diagonal <= left and diagonal <= up:
            i, j = i - 1, j - 1
        elif left <= up:
            j -= 1
        else:
            i -= 1
        path.append((i, j))
    return np.array(path[::-1], dtype=np.int64) - 1
