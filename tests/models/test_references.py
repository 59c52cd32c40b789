"""One voice told by several clips: a scrap counts as little as it is, and a whisper tells no pitch."""

import math

import torch

from revoice.data.read.batch import Batch
from revoice.models.base import level_of, pooled


def clip(frames: int, f0: float = 0.0, voiced: int | None = None) -> Batch:
    contour = torch.zeros(frames)
    contour[: frames if voiced is None else voiced] = f0
    return Batch.of_clip(torch.zeros(4, frames), f0=contour)


def test_longer_clips_count_more() -> None:
    clips = [clip(300), clip(100)]
    assert pooled([torch.ones(1, 2), torch.zeros(1, 2)], clips).tolist() == [[0.75, 0.75]]


def test_the_level_of_the_pitch_is_that_of_all_voiced_frames() -> None:
    level = level_of([clip(300, 100.0), clip(100, 200.0)])
    assert level is not None and math.isclose(level, math.log(100) + 0.25 * math.log(2), rel_tol=1e-5)


def test_a_few_frames_of_pitch_in_a_whisper_tell_none() -> None:
    level = level_of([clip(300, 100.0, voiced=30)])
    assert level is not None and level.isnan()
    assert level_of([Batch.of_clip(torch.zeros(4, 9))]) is None
    assert level_of([Batch.of_clip(torch.zeros(4, 0), level=torch.tensor(5.0))]) == 5.0
