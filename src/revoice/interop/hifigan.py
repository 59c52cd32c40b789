"""Published HiFi-GAN weights and settings (github.com/jik876/hifi-gan, MIT) for our networks."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.fit import widened
from revoice.checkpoint.load import unwrapped
from revoice.critics.period import PeriodCritic
from revoice.critics.scale import ScaleCritic
from revoice.errors import UserError
from revoice.interop.published import WEIGHT_NORM, load_renamed, renamed, with_norms
from revoice.settings import Factors, checked
from revoice.vocoders.hifigan import HiFiGAN

_GENERATOR = (
    *WEIGHT_NORM,
    (r"^conv_pre\.", "first."),
    (r"^conv_post\.", "last."),
    (r"^ups\.", "up."),
    (r"^resblocks\.", "blocks."),
    (r"\.convs1?\.", ".dilated."),
    (r"\.convs2\.", ".plain."),
)

NEEDED = (  # of a config.json
    "upsample_initial_channel", "upsample_rates", "upsample_kernel_sizes", "resblock", "resblock_kernel_sizes",
    "resblock_dilation_sizes", "sampling_rate", "n_fft", "hop_size", "win_size", "num_mels", "fmin", "fmax",
)  # fmt: skip
PERIODS = (2, 3, 5, 7, 11)  # published
CRITICS = {
    "period": ("mpd", 5),
    "scale": ("msd", 7),
}  # ours: the published name, and the place of the layer that scores
_OF_TRAINING = ("mpd.", "msd.")  # beside a `generator.` where all of a training is one state_dict


def our_name(published: str) -> str:
    """Our name for one of the published generator.

    >>> our_name("resblocks.4.convs2.0.weight_g")
    'blocks.4.plain.0.parametrizations.weight.original0'
    """
    return renamed(published, _GENERATOR)


def arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """`HiFiGAN` arguments of a published `config.json`; of longer rows of dilations the published blocks use the first.

    >>> arguments({**dict.fromkeys(NEEDED, ()), "resblock": "2", "resblock_dilation_sizes": [[1, 3, 5]]})["dilations"]
    ((1, 3),)
    """
    block = {"1": 1, "2": 2}.get(str(config["resblock"]), config["resblock"])
    used = {1: 3, 2: 2}.get(block)
    return {
        "channels": config["upsample_initial_channel"],
        "rates": tuple(config["upsample_rates"]),
        "kernels": tuple(config["upsample_kernel_sizes"]),
        "block": block,
        "block_kernels": tuple(config["resblock_kernel_sizes"]),
        "dilations": tuple(tuple(each)[:used] for each in config["resblock_dilation_sizes"]),
    }


def features_of(config: Mapping[str, Any], hop: int | None = None) -> FeatureSpec:
    """The log-mel of a published `config.json`, with another hop than it says if one is given."""
    return FeatureSpec(
        sample_rate=config["sampling_rate"],
        n_fft=config["n_fft"],
        hop=hop or config["hop_size"],
        win=config["win_size"],
        padding="same",
        epsilon=1e-9,
        mels=config["num_mels"],
        fmin=config["fmin"],
        fmax=config["fmax"],
    )


def hop_of(config: Mapping[str, Any]) -> int:
    """The samples that the network of a published `config.json` makes of a frame.

    >>> hop_of({"upsample_rates": [8, 8, 2, 2]})
    256
    """
    return prod(checked(Factors, config["upsample_rates"], "upsample_rates"))


def our_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The generator's weights by our names; where weight norm was multiplied out, as a norm and a direction again."""
    own = {n.removeprefix("generator."): value for n, value in published.items() if not n.startswith(_OF_TRAINING)}
    return with_norms({our_name(n): value for n, value in own.items()}, lambda name: name.endswith(".weight"))


def load_generator(model: HiFiGAN, published: Mapping[str, Tensor]) -> None:
    """Copy published weights into `model`; a name or shape that does not fit is a `UserError`."""
    load_renamed(model, our_state(published), "HiFi-GAN")


def critic_name(published: str, last: int) -> str:
    """Our name for one of a published discriminator; `last` is the place of the layer that scores.

    >>> critic_name("discriminators.1.conv_post.bias", 7), critic_name("discriminators.0.convs.2.weight_orig", 7)
    ('critics.1.layers.7.bias', 'critics.0.layers.2.weight_orig')
    """
    rules = ((r"^discriminators\.", "critics."), (r"\.convs\.", ".layers."), (r"\.conv_post\.", f".layers.{last}."))
    return renamed(published, rules)


def critic_state(published: Mapping[str, Tensor], last: int) -> dict[str, Tensor]:
    """The weights of a published discriminator by our names; `last` is the place of the layer that scores."""
    # a `weight_v` beside a `weight_g` is a weight, one beside a `weight_orig` a vector of spectral norm
    normed = {name.removesuffix("_g") for name in published if name.endswith(".weight_g")}
    state = {}
    for name, value in published.items():
        ours = critic_name(name, last)
        state[renamed(ours, WEIGHT_NORM) if name.removesuffix("_g").removesuffix("_v") in normed else ours] = value
    return state


def load_critic(model: PeriodCritic | ScaleCritic, published: Mapping[str, Tensor]) -> None:
    """Copy weights of a published discriminator into `model`; a name or shape that does not fit is a `UserError`."""
    last = len(model.critics[0].layers) - 1  # type: ignore[arg-type]
    load_renamed(model, critic_state(published, last), "HiFi-GAN")


def critics_of(content: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """The critics in a published `do_*`, by our names for them and for their weights.

    Raises:
        UserError: there are none.
    """
    found = {}
    for name, (theirs, last) in CRITICS.items():
        held = content.get(theirs)
        if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
            raise UserError(f"no {theirs} of plain tensors in it: expected HiFi-GAN's critics, e.g. do_02500000")
        bare = {unwrapped(str(name)): widened(value, torch.float32) for name, value in held.items()}
        found[name] = critic_state(bare, last)
    return found


def critic_arguments(name: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of our critic that the shapes of its weights tell; the periods are always the published ones."""
    first = state.get("critics.0.layers.0.bias")
    if first is None:
        raise UserError(f"no critic of HiFi-GAN in it: {name} has no critics.0.layers.0.bias")
    number = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("critics."))
    if name == "scale":
        return {"width": len(first), "scales": number}
    if number != len(PERIODS):
        raise UserError(f"a critic of {number} periods, expected {len(PERIODS)}: {list(PERIODS)}")
    return {"width": len(first), "periods": list(PERIODS)}
