"""HiFi-GAN's generator as its authors publish and train it: `g_NUMBER` or `generator_v1`, and its `config.json`."""

from pathlib import Path

from revoice.errors import UserError
from revoice.foreign import parse_json
from revoice.interop.hifigan import NEEDED, arguments, features_of, hop_of, our_state
from revoice.interop.importers import IMPORTERS, Imported, beside, published_file, speaks
from revoice.interop.published import build_vocoder, read_weights, settings_of
from revoice.untrusted import plain, read_small, refused


@IMPORTERS.register("hifigan")
class PublishedHiFiGAN:
    """Takes weights with weight norm, or with weight norm multiplied out."""

    def read(self, path: Path, config: Path | None = None, statistics: Path | None = None) -> Imported:
        """The generator; the hop of its features is what its layers make of a frame, whatever its config says."""
        if statistics is not None:
            raise UserError("kind=hifigan takes no statistics: its features are not standardized")
        published_file(path)
        described = config or beside(path, "config.json", "config")
        with refused(described, "config.json of a published HiFi-GAN"):
            settings = settings_of(plain(parse_json(read_small(described)), "config.json"), NEEDED, "config.json")
            hop = hop_of(settings)
            spec, given = features_of(settings, hop), arguments(settings)
        with refused(path, "state_dict of plain tensors"):
            expected = "a generator, e.g. g_02500000; a file do_* holds its critics and optimizers"
            found = read_weights(path, ["generator", "state_dict"], expected)
            state = our_state(found.state)
        model = build_vocoder("hifigan", given, spec, state, path, described)
        said = settings["hop_size"]
        other = "" if said == hop else f"its config says a hop of {said}, its layers make {hop} samples of a frame; "
        return Imported(
            model=model, kind="vocoder", name="hifigan", arguments=given, spec=spec, half=found.half,
            data={"origin": "HiFi-GAN (Kong et al., arXiv:2010.05646)"}, use=other + speaks(spec),
        )  # fmt: skip
