"""The critics: built from every yaml, published sizes, what they see and what they pass on."""

import copy
import math

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from revoice.audio.presets import config_dir
from revoice.critics.base import CRITICS
from revoice.critics.patch import PatchCritic
from revoice.critics.period import PeriodCritic, folded
from revoice.critics.resolution import ResolutionCritic
from revoice.critics.scale import ScaleCritic
from revoice.errors import UserError
from revoice.nn.adversarial import critic_loss, feature_matching, gradient_penalty
from tests.conftest import compose_config

SMALL = {"period": {"width": 2}, "scale": {"width": 16}, "resolution": {"width": 4}, "patch": {"width": 8}}
SMALL |= {"embedding": {"width": 8}, "code": {"width": 4}, "attention": {"width": 8, "channels": 1}}
PICTURES = ("patch", "attention", "two_stems")


def waveform(samples: int = 4097, batch: int = 2, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def picture(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 80, 64, generator=torch.Generator().manual_seed(seed))


def vector(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 256, generator=torch.Generator().manual_seed(seed))


def sequence(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 66, 24, generator=torch.Generator().manual_seed(seed))


def small(name: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    make = {**dict.fromkeys(PICTURES, picture), "embedding": vector, "code": sequence}.get(name, waveform)
    return CRITICS.build(name, SMALL[name]), make(seed=0), make(seed=1)


@pytest.mark.parametrize("name", sorted(path.stem for path in (config_dir() / "critic").glob("*.yaml")))
def test_every_critic_of_the_configs_is_built(name: str, tmp_path) -> None:
    config = compose_config("train", f"+critic@critics.{name}={name}", folder=tmp_path)
    critic_name, arguments = CRITICS.named(config["critics"][name], f"critics.{name}")
    with torch.device("meta"):
        critic = CRITICS.build(critic_name, arguments)
    assert critic.name == name and critic.conditional == (name in PICTURES)


def test_there_is_a_yaml_for_every_critic() -> None:
    own = {name for name in CRITICS.names() if CRITICS.get(name).__module__.startswith("revoice.")}
    assert own == {path.stem for path in (config_dir() / "critic").glob("*.yaml")} == {*SMALL, "two_stems"}


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("period", {}, 41_105_770),  # as published
        ("scale", {}, 29_618_821),  # as published
        ("attention", {}, 44_705_665),  # Anonymous-VC's, of three channels
        ("two_stems", {}, 2_761_921),  # VoicePix2Pix's
        ("embedding", {}, 1_315_843),  # as published, as the next one
        ("code", {}, 5_564_677),
        ("patch", {"channels": 3, "given_channels": 3}, 2_769_601),  # pix2pix on RGB beside RGB, biases included
    ],
)
def test_published_sizes(name: str, arguments: dict, count: int) -> None:
    with torch.device("meta"):
        critic = CRITICS.build(name, arguments)
    assert sum(p.numel() for p in critic.parameters()) == count


@pytest.mark.parametrize("name", SMALL)
def test_scores_and_maps_reach_every_weight(name: str) -> None:
    critic, real, fake = small(name)
    fake.requires_grad_(True)
    ours, theirs = critic(fake), critic(real)
    assert all(scores.ndim == 2 and len(scores) == 2 for scores in ours.scores)
    loss = critic_loss("hinge", theirs.scores, ours.scores) + feature_matching(theirs.maps, ours.maps)
    loss = loss if ours.classes is None else loss + ours.classes.square().sum()
    loss.backward()
    assert fake.grad is not None and fake.grad.abs().sum() > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in critic.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_a_penalty_can_be_taken_of_every_critic(name: str) -> None:
    critic, real, fake = small(name)
    penalty = gradient_penalty(lambda x: critic(x).scores, real, fake, torch.rand(2))
    penalty.backward()
    assert torch.isfinite(penalty)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in critic.parameters())


@pytest.mark.parametrize("name", ["period", "scale", "resolution"])
def test_an_item_is_judged_alone(name: str) -> None:
    critic, real, _ = small(name)
    together, alone = critic.eval()(real), critic(real[1:])
    for a, b in zip(together.scores, alone.scores, strict=True):
        torch.testing.assert_close(a[1:], b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_a_copy_and_a_saved_state_judge_alike(name: str) -> None:
    critic, real, _ = small(name)
    critic.eval()
    twin, read = copy.deepcopy(critic), CRITICS.build(name, SMALL[name]).eval()
    read.load_state_dict(critic.state_dict())
    for other in (twin, read):
        assert all(torch.equal(a, b) for a, b in zip(critic(real).scores, other(real).scores, strict=True))


def test_a_period_sees_every_pth_sample() -> None:
    x = torch.arange(12.0)[None]
    assert folded(x, 3)[0, 0, :, 1].tolist() == [1, 4, 7, 10]
    torch.manual_seed(0)
    critic, wave = PeriodCritic((5,), width=2), waveform(500, 1)
    wave.requires_grad_(True)
    critic.critics[0](folded(wave, 5))[1][-1][0, 0, 1, 2].backward()  # a score of column 2
    touched = wave.grad[0].nonzero()[:, 0] % 5
    assert touched.unique().tolist() == [2]


def test_the_first_map_is_left_out_as_vocos_does() -> None:
    whole, rest = PeriodCritic(width=2)(waveform()), PeriodCritic(width=2, first_map=False)(waveform())
    assert [len(maps) for maps in whole.maps] == [6] * 5 and [len(maps) for maps in rest.maps] == [5] * 5


def test_scales_halve_the_samples() -> None:
    judged = ScaleCritic(width=16)(waveform(6400))
    assert [scores.shape[1] for scores in judged.scores] == [100, 51, 26]


def test_spectral_norm_brings_the_first_scale_to_a_slope_of_one() -> None:
    torch.manual_seed(0)
    critic = ScaleCritic(scales=1, width=16)
    with torch.no_grad():
        for _ in range(200):
            critic(waveform(256))
        critic.eval()(waveform(256))
        weights = [layer.weight.flatten(1) for layer in critic.critics[0].layers]
    for weight in weights:
        torch.testing.assert_close(torch.linalg.matrix_norm(weight, 2), torch.ones(()), rtol=1e-2, atol=0)


@pytest.mark.parametrize("window", ["rectangular", "hann"])
def test_resolutions_see_magnitudes(window: str) -> None:
    critic, wave = ResolutionCritic(width=2, window=window), waveform()
    seen = critic.spectrogram(wave, 512)
    made = torch.ones(512) if window == "rectangular" else torch.hann_window(512)
    framed = nn.functional.pad(wave[:, None], (256, 256), mode="reflect")[:, 0].unfold(1, 512, 128)
    torch.testing.assert_close(seen, torch.fft.rfft(framed * made).abs().transpose(1, 2), rtol=1e-3, atol=1e-3)
    turned = critic(-wave)
    for a, b in zip(critic(wave).scores, turned.scores, strict=True):
        torch.testing.assert_close(a, b)
    with torch.autocast("cpu", torch.bfloat16):
        assert critic.spectrogram(wave.bfloat16(), 512).dtype == torch.float32


def test_a_patch_is_70_by_70() -> None:
    critic, x = PatchCritic(width=4, norm="none"), torch.randn(1, 1, 256, 256, requires_grad=True)
    judged = critic(x)
    assert judged.scores[0].shape == (1, 30 * 30)
    judged.scores[0].view(30, 30)[15, 15].backward()
    rows, columns = (x.grad[0, 0].abs().sum(axis).nonzero()[:, 0] for axis in (1, 0))
    assert [int(each.max() - each.min()) + 1 for each in (rows, columns)] == [70, 70]


@pytest.mark.parametrize("norm", ["batch", "instance", "spectral", "none"])
def test_patches_are_judged_beside_what_they_were_made_from(norm: str) -> None:
    torch.manual_seed(0)
    critic, x = PatchCritic(given_channels=1, width=4, norm=norm), picture()
    scores = [critic(x, given).scores[0] for given in (picture(1), picture(2))]
    assert not torch.allclose(*scores)
    as_picture = critic(x[:, None], picture(1)[:, None]).scores[0]
    assert as_picture.shape == scores[0].shape
    with pytest.raises(UserError, match="given_channels=1 and nothing was given"):
        critic(x)


@pytest.mark.parametrize(("name", "least"), [("period", 11), ("scale", 8), ("resolution", 1025), ("patch", 24)])
def test_the_smallest_crop_is_judged_and_a_smaller_one_refused(name: str, least: int) -> None:
    critic = CRITICS.build(name, SMALL[name])
    shape = (2, least, 30) if name == "patch" else (2, least)
    assert all(scores.numel() for scores in critic(torch.randn(shape)).scores)
    with pytest.raises(UserError, match=str(least)) as caught:
        critic(torch.randn(shape)[:, 1:])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["period", "scale", "resolution"])
def test_waveforms_are_judged_alone(name: str) -> None:
    critic, real, fake = small(name)
    with pytest.raises(UserError, match=f"critic {name} judges waveforms alone"):
        critic(real, fake)


@pytest.mark.parametrize("name", SMALL)
def test_every_value_that_cannot_be_is_refused_before_anything_is_built(name: str) -> None:
    settings = dict(OmegaConf.load(config_dir() / "critic" / f"{name}.yaml"))
    settings.pop("name")
    refused = 0
    for key in settings:
        for value in ("abc", math.nan, math.inf, -1, 1e30, None, [math.nan, "b"], {"a": {}}, "x" * 6000):
            try:
                CRITICS.check(name, {key: value})
            except UserError as error:
                assert key in str(error) and "\n" not in str(error)
                refused += 1
    assert refused == sum(9 - (value is None) for value in settings.values())  # null: those of the model


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("scale", {"width": 24}, "critic.width=24"),
        ("period", {"periods": []}, "critic.periods"),
        ("resolution", {"window": "sine"}, "rectangular"),
        ("resolution", {"sizes": [1023]}, "critic.sizes"),
        ("patch", {"norm": "layer"}, "instance"),
    ],
)
def test_wrong_settings_are_told_in_a_line(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        CRITICS.check(name, arguments)
    assert "\n" not in str(caught.value)


def test_the_published_patches_of_three_seconds() -> None:
    """225 scores of a picture of 128 x 768, by five halvings and a last layer without an edge."""
    torch.manual_seed(0)
    critic = CRITICS.build("attention", {"width": 8, "channels": 3, "attention": False}).eval()
    assert critic(torch.zeros(1, 3, 128, 768)).scores[0].shape == (1, 225)
    with pytest.raises(UserError, match="64 x 64"):
        critic(torch.zeros(1, 3, 128, 32))
    with pytest.raises(UserError, match="given_channels"):
        critic(torch.zeros(1, 3, 128, 64), torch.zeros(1, 3, 128, 64))


def test_attention_looks_around_once_its_weight_moves() -> None:
    torch.manual_seed(0)
    critic, x = CRITICS.build("attention", {"width": 8, "channels": 1}).eval(), picture()
    looks = [layer for layer in critic.modules() if type(layer).__name__ == "SelfAttention2d"]
    before = critic(x).scores[0]
    with torch.no_grad():
        looks[0].gamma.fill_(1.0)
    assert not torch.allclose(before, critic(x).scores[0])


def test_two_stems_judge_beside_what_was_given() -> None:
    torch.manual_seed(0)
    critic = CRITICS.build("two_stems", {"width": 4, "channels": 1, "given_channels": 1}).eval()
    x = picture(0)
    ours, others = (critic(x, picture(seed)).scores[0] for seed in (0, 1))
    assert ours.shape[0] == 2 and not torch.allclose(ours, others)
    with pytest.raises(UserError, match="given: true"):
        critic(x)
