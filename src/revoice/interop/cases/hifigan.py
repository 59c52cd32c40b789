"""HiFi-GAN's generator and its two discriminators, their losses and gradients."""

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.critics.base import Judged
from revoice.critics.period import PeriodCritic
from revoice.critics.scale import ScaleCritic
from revoice.interop.cases import Result, case
from revoice.interop.fixture import Fixture
from revoice.interop.hifigan import arguments, features_of, hop_of, load_critic, load_generator, our_name
from revoice.nn.adversarial import critic_loss, feature_matching, generator_loss
from revoice.vocoders.hifigan import HiFiGAN

_WIDTHS = {"mpd": 32, "msd": 128}  # published, of the first layers
_MAP_AXES, _FIRST = 4, 16  # what a fixture records of each map: its shape and its first values


@case("hg_g")
def generator(fixture: Fixture) -> Mapping[str, Result]:
    """`wav_<name>` of every `mel_<name>`, with weight norm and with fused weights; gradients of the mean square.

    The hop is what the network makes of a frame, whatever the fixture's settings of features say.
    """
    model = HiFiGAN(features_of(fixture.config, hop_of(fixture.config)), **arguments(fixture.config))
    load_generator(model, fixture.state)
    names = [name.removeprefix("mel_") for name in fixture.listed("in")]
    results: dict[str, Result] = {f"wav_{n}": model(fixture.input(f"mel_{n}"))[:, None].detach() for n in names}
    loss = model(fixture.input("mel_a")).square().mean()
    loss.backward()
    results["loss_mean_square"] = loss.detach()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    for name in fixture.outputs:
        if name.startswith("grad/"):
            results[name] = gradients[our_name(name.removeprefix("grad/"))]
    model.fuse()
    results["wav_a_fused_weights"] = model(fixture.input("mel_a"))[:, None].detach()
    return results


@case("hg_d")
def discriminators(fixture: Fixture) -> Mapping[str, Result]:
    """Scores, maps and losses of both discriminators, the gradient that a generator gets, spectral norm in training."""
    mpd = PeriodCritic(tuple(fixture.setting("periods")), _WIDTHS["mpd"] // fixture.setting("mpd_width_divisor"))
    msd = ScaleCritic(width=_WIDTHS["msd"] // fixture.setting("msd_width_divisor"))
    real, fake = fixture.input("y")[:, 0], fixture.input("y_hat")[:, 0].clone().requires_grad_(True)
    results: dict[str, Result] = {}
    total = torch.zeros(())
    for name, critic in (("mpd", mpd), ("msd", msd)):
        state = {k.removeprefix(f"{name}."): v for k, v in fixture.state.items() if k.startswith(f"{name}.")}
        load_critic(critic, state)
        critic.eval()
        judged = critic(real), critic(fake)
        losses = _losses(*judged)
        total = total + losses["generator_loss"] + losses["feature_loss"]
        results |= {f"{name}_{what}": value.detach() for what, value in losses.items()}
        results |= {f"{name}_{what}": value.detach() for what, value in _seen(*judged)}
    results["grad_y_hat"] = torch.autograd.grad(total, fake)[0][:, None]
    return results | _training(msd, real, fake.detach())


def _losses(real: Judged, fake: Judged) -> dict[str, Tensor]:
    """As published: sums over the sub-critics, feature matching twice."""
    return {
        "discriminator_loss": critic_loss("lsgan", real.scores, fake.scores, "sum"),
        "generator_loss": generator_loss("lsgan", fake.scores, "sum"),
        "feature_loss": 2 * feature_matching(real.maps, fake.maps, "sum"),
    }


def _scores(real: Judged, fake: Judged) -> Iterator[tuple[str, Tensor]]:
    for kind, judged in (("real", real), ("fake", fake)):
        yield from ((f"{kind}_{j}", scores) for j, scores in enumerate(judged.scores))


def _seen(real: Judged, fake: Judged) -> Iterator[tuple[str, Tensor]]:
    yield from _scores(real, fake)
    maps = [each for critic in real.maps for each in critic]
    yield "fmap_shapes", torch.stack([_filled(each.shape, _MAP_AXES, 1) for each in maps])
    yield "fmap_real_first16", torch.stack([_filled(each.flatten(), _FIRST) for each in maps])
    yield "fmap_real_mean", torch.stack([each.mean() for each in maps])


def _filled(values: Tensor | Sequence[int], size: int, rest: int = 0) -> Tensor:
    """The first `size` values, `rest` where there are fewer."""
    found = torch.as_tensor(values)[:size].detach()
    return F.pad(found, (0, size - len(found)), value=rest)


def _training(msd: ScaleCritic, real: Tensor, fake: Tensor) -> dict[str, Result]:
    """Both clips in training mode, what is real first: each call moves the vectors of spectral norm."""
    msd.train()
    with torch.no_grad():
        results: dict[str, Result] = {f"train_msd_{name}": value for name, value in _scores(msd(real), msd(fake))}
    second = msd.get_submodule("critics.0.layers.1")
    for vector in ("u", "v"):
        results[f"train_msd0_conv1_weight_{vector}_after"] = second.get_buffer(f"weight_{vector}")
    return results
