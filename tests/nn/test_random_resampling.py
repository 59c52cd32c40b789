"""Random resampling against a loop over items, segments and steps."""

import torch
from torch import Tensor

from revoice.nn.draws import Draws
from revoice.nn.random_resampling import LONGEST, SHORTEST, drawn, resampling, stretched


def looped(x: Tensor, length: int, scales: list[float], sizes: list[int], frames: int) -> Tensor:
    """(C, S) -> (C, frames), one value after the other."""
    columns, offset = [], 0
    for scale, size in zip(scales, sizes, strict=True):
        for step in range(64):
            place = torch.tensor(float(step)) / scale
            floor = int(place)
            if floor >= size - 1 or floor + offset >= length - 1:
                break
            share = place - floor
            columns.append((1 - share) * x[:, floor + offset] + share * x[:, floor + offset + 1])
        offset += size
    made = torch.zeros(len(x), frames)
    for t, column in enumerate(columns[:frames]):
        made[:, t] = column
    return made


def test_it_is_what_a_loop_makes() -> None:
    draw = torch.Generator().manual_seed(0)
    x, lengths = torch.randn(5, 3, 192, generator=draw), torch.tensor([192, 128, 64, 33, 2])
    scales = torch.rand(5, 7, generator=draw) + 0.5
    scales[0] = 0.5  # covers all, and leaves the end empty
    scales[1] = 1.5
    sizes = torch.randint(SHORTEST, LONGEST + 1, (5, 7), generator=draw)
    found = resampling(lengths, scales, sizes, 192)
    made = found.read(x)
    for row in range(5):
        one = looped(x[row], int(lengths[row]), scales[row].tolist(), sizes[row].tolist(), 192)
        torch.testing.assert_close(made[row], one, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.bmm(x, found.matrix(192)), made, atol=1e-5, rtol=0)


def test_draws_are_of_the_sample_and_within_the_published_ranges() -> None:
    lengths = torch.full((4,), 128)
    whole, part = (
        drawn(Draws(0, 3, first, count, 4), "a", lengths[:count], 128, 192) for first, count in ((0, 4), (2, 2))
    )
    assert torch.equal(whole.low[2:], part.low) and torch.equal(whole.share[2:], part.share)
    assert bool((whole.low[whole.there] < 128).all()) and bool((whole.share >= 0).all())
    ends = whole.there.sum(1)  # of 133 frames at least at half the speed to 217 at the other end, 128 of them there
    assert int(ends.min()) >= 60
    assert not torch.equal(drawn(Draws(0, 4, 0, 4, 4), "a", lengths, 128, 192).low, whole.low)


def test_marks_of_unvoiced_frames_are_not_mistaken_for_pitch() -> None:
    contour = torch.full((1, 1, 64), 0.5)
    contour[..., 20:40] = -1e10
    found = resampling(torch.tensor([64]), torch.full((1, 4), 1.3), torch.full((1, 4), 25), 96).read(contour)
    between = (found != 0.5) & (found != 0)
    assert bool((found[between] < -1).all()) and bool((found[0, 0, :20] == 0.5).all())


def test_a_lower_rate_makes_more_frames() -> None:
    x = torch.arange(100.0)[None, None]
    assert stretched(x, 0.5).shape[-1] == 200 and stretched(x, 1.25).shape[-1] == 80
    assert stretched(x, 1.0) is x
    assert set(stretched(x, 0.7, nearest=True).flatten().tolist()) <= set(range(100))
