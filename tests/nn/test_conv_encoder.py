import pytest
import torch

from revoice.errors import UserError
from revoice.nn.content import CONVOLUTIONAL, RecognizedContent, encoder, settings_of
from revoice.nn.conv_encoder import ConvEncoder, ConvEncoderSize

SMALL = {"width": 8, "channels": 12, "hidden": 16, "blocks": 3, "kernel": 5}


def net(causal: bool) -> ConvEncoder:
    torch.manual_seed(0)
    made = ConvEncoder(ConvEncoderSize(**SMALL, causal=causal)).eval()
    for name, value in made.named_parameters():
        if name.endswith("down.weight"):  # so small at the start that a block changes next to nothing
            torch.nn.init.normal_(value)
    return made


def influenced(network: ConvEncoder, frame: int, frames: int = 200) -> torch.Tensor:
    """The steps that a frame changes."""
    x = torch.randn(1, 80, frames, generator=torch.Generator().manual_seed(1))
    moved = x.clone()
    moved[..., frame] += 10
    with torch.no_grad():
        difference = (network(moved) - network(x)).abs().amax(-1)[0]
    return (difference > 1e-5).nonzero()[:, 0]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 3, 100, 3301])
def test_every_two_frames_are_a_step_of_clips_of_any_length(causal: bool, frames: int) -> None:
    assert net(causal)(torch.randn(2, 80, frames)).shape == (2, (frames + 1) // 2, 8)


@pytest.mark.parametrize("frame", [100, 101])
def test_the_causal_form_sees_no_more_of_the_future_than_its_pair_of_frames(frame: int) -> None:
    steps = influenced(net(True), frame)
    first = int(steps.min())  # step t is said to stand on frames up to 2 t + 1
    assert 2 * first + 1 >= frame and first - frame // 2 in (0, 1)
    assert int(steps.max()) > first + 20, "it remembers"


def test_the_other_form_sees_both_sides_alike() -> None:
    steps = influenced(net(False), 100)
    before, after = 50 - int(steps.min()), int(steps.max()) - 50
    assert abs(before - after) <= 1 and before in (14, 15), "2 (1 + 2 + 4) steps, and the frames of its own"


def test_settings_make_the_same_encoder_again_and_wrong_ones_are_one_line() -> None:
    made = encoder({"name": CONVOLUTIONAL, **SMALL, "dilations": [1, 2], "causal": True})
    again = encoder(settings_of(made))
    assert again.size == made.size
    again.load_state_dict(made.state_dict())
    for wrong, words in (({"kernel": 4}, "odd"), ({"blocks": 0}, "from 1"), ({"layers": 2}, "layers")):
        with pytest.raises(UserError, match=words):
            encoder({"name": CONVOLUTIONAL, **SMALL, **wrong})
    with pytest.raises(UserError, match="convolutional"):
        encoder({"name": "conv"})


def test_a_student_is_heard_in_waveforms_like_its_teacher() -> None:
    content = RecognizedContent(net(False), 22050, 256)
    assert content.channels == 8 and content(torch.randn(1, 22050)).shape == (1, 8, 86)
