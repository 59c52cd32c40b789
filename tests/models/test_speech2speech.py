import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import Controls
from revoice.models.speech2speech import Speech2Speech, batch_deviation
from revoice.nn.draws import Draws
from revoice.nn.voice_code import VoiceCode

TINY = {"channels": 16, "residual_channels": 8, "quantizer": {"codebook_size": 16, "dim": 8, "learn": "loss"}}


def batch(frames: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        id=("a", "b", "c"), features=torch.randn(3, 10, frames, generator=generator),
        lengths=torch.tensor([frames, frames, frames - 5]), embedding=torch.randn(3, 256, generator=generator),
        speaker=torch.tensor([0, 1, -1]), draws=Draws(0, 0, 0, 3, 3),
    )  # fmt: skip


def test_the_loss_is_the_error_in_units_of_the_batch_s_deviation() -> None:
    torch.manual_seed(0)
    model, given = Speech2Speech(10, 2, **TINY).eval(), batch()
    codes = model.encode(given.features)
    made = model.decoder(codes.values, model.voice(given.speaker))[..., :32]
    error = (made - given.features).square().mean() / given.features.std(correction=0)
    assert float(model.losses(given)["reconstruction"]) == pytest.approx(float(error), rel=1e-5)
    assert float(batch_deviation(given.features)) == pytest.approx(float(given.features.std(correction=0)), rel=1e-5)


class _Single(TorchDispatchMode):
    """A device without float64."""

    def __torch_dispatch__(self, function, types, given=(), options=None):  # type: ignore[no-untyped-def]
        made = function(*given, **(options or {}))
        assert all(each.dtype != torch.float64 for each in tree_leaves(made) if isinstance(each, Tensor)), function
        return made


def test_the_deviation_needs_no_float64_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    x = 3.0 + torch.randn(3, 10, 32, generator=torch.Generator().manual_seed(0))
    exact = float(batch_deviation(x))
    monkeypatch.setattr("revoice.nn.precision.EXACT", ())
    with _Single():
        found = batch_deviation(x)
    assert float(found) == pytest.approx(exact, rel=1e-5)


def test_an_unknown_speaker_is_the_mean_of_the_table() -> None:
    torch.manual_seed(0)
    code = VoiceCode("speaker", 4, 3)
    told = code(torch.tensor([2, -1, 0]))
    rows = code.layer.weight
    torch.testing.assert_close(told, torch.stack([rows[2], rows.mean(0), rows[0]]))
    (gradient,) = torch.autograd.grad(told.sum(), rows)
    torch.testing.assert_close(gradient, torch.tensor([4 / 3, 1 / 3, 4 / 3])[:, None].expand(3, 4))


def test_the_table_s_voices_differ_and_several_rows_are_their_mean() -> None:
    torch.manual_seed(0)
    model = Speech2Speech(10, 2, **TINY).eval()
    source = Batch.of_clip(torch.randn(10, 40))
    rows = [Batch.of_clip(torch.zeros(10, 0), speaker=torch.tensor(row)) for row in (0, 1)]
    first, second = (model.convert(source, [row], Controls()) for row in rows)
    assert first.shape == (1, 10, 40) and not torch.equal(first, second)
    torch.testing.assert_close(model.voice.of([row.speaker for row in rows])[0], model.voice.layer.weight.mean(0))


@pytest.mark.parametrize("frames", [1, 3, 5, 40])
def test_clips_of_any_length_convert_to_as_many_frames(frames: int) -> None:
    model = Speech2Speech(10, 2, voice="embedding", **TINY).eval()
    clip = Batch.of_clip(torch.randn(10, frames), embedding=torch.randn(256))
    assert model.convert(clip, [clip], Controls()).shape == (1, 10, frames)


def test_a_table_needs_speakers() -> None:
    with pytest.raises(UserError, match="n_speakers"):
        Speech2Speech(10, None, **TINY)


@pytest.mark.parametrize(("frames", "steps"), [(100, 51), (101, 52), (4, 3)])
def test_the_mended_stride_halves_the_rate_and_covers_every_frame(frames: int, steps: int) -> None:
    model = Speech2Speech(10, 2, **TINY).eval()
    x = torch.randn(1, 10, frames)
    codes = model.encode(x)
    assert codes.codes.shape == (1, steps)
    assert model.decoder(codes.values, torch.zeros(1, 20)).shape[-1] in (frames, frames + 1)


@pytest.mark.parametrize("frames", [3, 31])
def test_the_end_of_a_clip_in_db_is_not_followed_by_a_crash(frames: int) -> None:
    """Zeros, which are silence of linear magnitudes, are a magnitude of 1 in dB: the last frame is held instead."""
    model = Speech2Speech(10, 2, voice="embedding", **TINY).eval()
    quiet, told = torch.full((10, frames), -80.0), torch.randn(256)
    made = model.convert(clip := Batch.of_clip(quiet, embedding=told), [clip], Controls())
    held = Batch.of_clip(torch.full((10, frames + 1), -80.0), embedding=told)
    assert torch.equal(model.encode(clip.features).codes, model.encode(held.features).codes)
    torch.testing.assert_close(made, model.convert(held, [clip], Controls())[..., :frames])


def test_the_legacy_decoder_never_sees_the_second_half() -> None:
    """What the published stride costs: the end of the input has no influence on the output, in ours it has."""
    torch.manual_seed(0)
    x = torch.randn(1, 10, 60)
    changed = x.clone()
    changed[..., 45:] = torch.randn(1, 10, 15)
    target = [Batch.of_clip(x[0], speaker=torch.tensor(0))]
    differ = {}
    for legacy in (True, False):
        model = Speech2Speech(10, 2, legacy=legacy, **TINY).eval()
        a, b = (model.convert(Batch.of_clip(values[0]), target, Controls()) for values in (x, changed))
        differ[legacy] = not torch.equal(a, b)
    assert differ == {True: False, False: True}


@pytest.mark.parametrize("voice", ["embedding", "speaker"])
def test_speech2speech_trains(voice: str) -> None:
    torch.manual_seed(0)
    model = Speech2Speech(10, 2, voice=voice, **TINY).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    seen = []
    for _ in range(30):
        losses = model.losses(batch())
        total = losses["reconstruction"] + losses["codebook"] + 0.25 * losses["commitment"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        seen.append(losses["reconstruction"].item())
    assert seen[-1] < 0.95 * seen[0]
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("bins", "codes", "parameters"),
    [(1025, 256, 16591557), (1025, 300, 16594373), (1025, 512, 16607941), (257, 256, 13051845), (257, 512, 13068229)],
)
def test_published_sizes(bins: int, codes: int, parameters: int) -> None:
    with torch.device("meta"):
        model = Speech2Speech(bins, 109, quantizer={"codebook_size": codes, "learn": "loss", "init": "uniform"})
    assert sum(p.numel() for p in model.parameters()) == parameters
