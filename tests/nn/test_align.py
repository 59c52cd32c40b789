"""The path of the least distance, against a plain search over all of them."""

from itertools import product

import pytest
import torch

from revoice.nn.align import FASTEST, followed


def searched(cost: torch.Tensor, length: int) -> float:
    """The least sum of costs (N, M) over all paths."""
    steps, found = cost.shape[0], float("inf")
    for start in range(length):
        for moves in product(range(FASTEST + 1), repeat=steps - 1):
            at = [start]
            for move in moves:
                at.append(at[-1] + move)
            if at[-1] < length:
                found = min(found, float(sum(cost[i, j] for i, j in enumerate(at))))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_no_path_is_shorter(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    first, other = torch.randn(2, 3, 5, generator=draw), torch.randn(2, 3, 7, generator=draw)
    lengths = torch.tensor([7, 4])
    path = followed(first, other, torch.tensor([5, 5]), lengths)
    assert path.shape == (2, 5) and path.dtype == torch.int64
    moves = path.diff(dim=1)
    assert bool(((moves >= 0) & (moves <= FASTEST)).all()) and bool((path.amax(1) < lengths).all())
    for item in range(2):
        cost = (first[item][:, :, None] - other[item][:, None]).square().sum(0)
        taken = float(cost.gather(1, path[item][:, None]).sum())
        assert taken == pytest.approx(searched(cost, int(lengths[item])), rel=1e-5)


def test_speech_said_slower_is_followed_at_its_pace() -> None:
    draw = torch.Generator().manual_seed(0)
    said = torch.randn(1, 20, 30, generator=draw)
    slower = said.repeat_interleave(2, dim=2)
    around = torch.cat([torch.randn(1, 20, 9, generator=draw), slower, torch.randn(1, 20, 9, generator=draw)], dim=2)
    path = followed(said, around, torch.tensor([30]), torch.tensor([around.shape[2]]))[0]
    assert torch.equal((path - 9) // 2, torch.arange(30))
    assert followed(said[..., :1], around, *torch.tensor([[1], [1]])).tolist() == [[0]], "one step of one"


def test_padding_follows_nothing() -> None:
    """Speech that fades away is followed to its end, whatever stands behind it."""
    draw = torch.Generator().manual_seed(0)
    said = torch.randn(1, 20, 30, generator=draw) - torch.linspace(0, 8, 30)
    padded = torch.cat([said, torch.zeros(1, 20, 6)], dim=2)
    path = followed(padded, said, torch.tensor([30]), torch.tensor([30]))[0]
    assert torch.equal(path[:30], torch.arange(30)) and bool((path[30:] == 29).all())
    assert not torch.equal(followed(padded, said, torch.tensor([36]), torch.tensor([30]))[0, :30], torch.arange(30))
