"""HiFi-GAN's generator as its authors publish and train it: `g_NUMBER` or `generator_v1`, and its `config.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from revoice.audio.presets import load_preset
from revoice.critics.base import CRITICS
from revoice.errors import UserError
from revoice.foreign import parse_json
from revoice.interop.hifigan import NEEDED, arguments, critic_arguments, critics_of, features_of, hop_of, our_state
from revoice.interop.importers import IMPORTERS, Imported, beside, published_file, speaks
from revoice.interop.published import build_critic, build_vocoder, read_weights, settings_of
from revoice.registry import defaults
from revoice.settings import Count, checked
from revoice.untrusted import plain, read_small, read_torch, refused


@IMPORTERS.register("hifigan")
class PublishedHiFiGAN:
    """Takes weights with weight norm, or with weight norm multiplied out."""

    def read(self, path: Path, config: Path | None = None, statistics: Path | None = None) -> Imported:
        """The generator, or of a file do_* the critics.

        The hop of a generator's features is what its layers make of a frame, whatever its config says.
        """
        if statistics is not None:
            raise UserError("kind=hifigan takes no statistics: its features are not standardized")
        published_file(path)
        if (critics := _critics(path)) is not None:
            return critics
        described = config or beside(path, "config.json", "config")
        with refused(described, "config.json of a published HiFi-GAN"):
            settings = settings_of(plain(parse_json(read_small(described)), "config.json"), NEEDED, "config.json")
            hop, said = hop_of(settings), checked(Count, settings["hop_size"], "hop_size")
            spec, given = features_of(settings, hop), arguments(settings)
        with refused(path, "state_dict of plain tensors"):
            expected = "a generator, e.g. g_02500000, or its critics, do_02500000"
            found = read_weights(path, ["generator", "state_dict"], expected)
            state = our_state(found.state)
        model = build_vocoder("hifigan", given, spec, state, path, described)
        other = "" if said == hop else f"its config says a hop of {said}, its layers make {hop} samples of a frame; "
        return Imported(
            model=model, kind="vocoder", name="hifigan", arguments=given, spec=spec, half=found.half,
            data={"origin": "HiFi-GAN (Kong et al., arXiv:2010.05646)"}, use=other + speaks(spec),
        )  # fmt: skip


def _critics(path: Path) -> Imported | None:
    """The critics of a file do_*; None of another."""
    with refused(path, "state_dict of plain tensors"):
        content = None if path.suffix == ".safetensors" else read_torch(path, legacy=True)
        if not isinstance(content, Mapping) or not {"mpd", "msd"} & content.keys():
            return None
        states = critics_of(content)
        arguments = {name: critic_arguments(name, state) for name, state in states.items()}
    made = {name: build_critic(name, arguments[name], state, path) for name, state in states.items()}
    return Imported(
        model=nn.ModuleDict(made), kind="critics", name="hifigan", arguments=arguments, spec=load_preset("mel_22k"),
        data={"origin": "HiFi-GAN (Kong et al., arXiv:2010.05646)"},
        use="it holds critics, which learn beside a vocoder: python train.py vocoder=hifigan init_from=GENERATOR "
        "critics.period.init_from={out} critics.scale.init_from={out}" + _other_sizes(arguments),
    )  # fmt: skip


def _other_sizes(arguments: Mapping[str, Mapping[str, Any]]) -> str:
    """Of critics that are not of the published sizes, the settings that say so."""
    changed = [
        f" critics.{name}.{key}={sizes[key]}"
        for name, sizes in arguments.items()
        for key in sizes.keys() & {"width", "scales"}
        if sizes[key] != defaults(CRITICS.get(name))[key]
    ]
    return "".join(sorted(changed))
