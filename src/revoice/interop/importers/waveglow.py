"""WaveGlow as NVIDIA publishes and trains it: `waveglow_NUMBER`, `waveglow_256channels*.pt`, those of hub and NeMo."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from revoice.errors import UserError
from revoice.foreign import parse_json
from revoice.interop.importers import IMPORTERS, Imported, published_file, speaks
from revoice.interop.published import build_vocoder, read_weights, settings_of
from revoice.interop.waveglow import arguments, features_of, filters_of, our_state, require_told
from revoice.settings import Count, checked
from revoice.untrusted import plain, read_small, refused

Coupling = Literal["fixed", "alternating"]
_CLASSES = {"glow": "fixed", "glow_old": "alternating"}  # the modules of the published classes
_PACKAGES = (*_CLASSES, "waveglow")  # or the folder that programs keep them in


@IMPORTERS.register("waveglow")
class PublishedWaveGlow:
    """Takes a state_dict or a whole pickled module, of which nothing is run; the sizes are those of the weights."""

    def read(
        self,
        path: Path,
        config: Path | None = None,
        statistics: Path | None = None,
        coupling: str | None = None,
        preset: str | None = None,
    ) -> Imported:
        """The network.

        Args:
            path: the weights.
            config: the published config.json, for its features; None: the one beside the weights, if there is one.
            statistics: there are none.
            coupling: "fixed" or "alternating" halves; None: as the class in the file does it, "fixed" if it names none.
            preset: of the features that it hears; None: as the config says, or Tacotron's.
        """
        if statistics is not None:
            raise UserError("kind=waveglow takes no statistics: its features are not standardized")
        asked = checked(Coupling | None, coupling, "coupling")
        published_file(path)
        if path.suffix == ".nemo":
            raise UserError(f"{path}: an archive: type tar -xf {path}, and then path=model_weights.ckpt")
        described = config or (beside if (beside := path.with_name("config.json")).is_file() else None)
        settings = _settings(described) if described else {}
        note = ""
        with refused(path, "WaveGlow"):
            found = read_weights(path, ["model", "state_dict"], "a WaveGlow, e.g. waveglow_580000", _PACKAGES)
            halves = asked or next((_CLASSES[name] for name in found.made_by.split(".") if name in _CLASSES), None)
            state = our_state(found.state)
            given = arguments(state, alternate=halves == "alternating")
        try:
            require_told(settings.get("waveglow_config", {}), given, len(state["up.weight"]))
        except UserError as error:
            if config is not None:
                raise UserError(f"{config}: {error}") from error
            note, settings = f"{described} is of other weights and passed over ({error}); ", {}
        data = settings.get("data_config")
        with refused(described if data and described else path, "WaveGlow"):
            spec = features_of(state, data or filters_of(found.state), preset)
            if data and checked(Count, data.get("hop_length", spec.hop), "hop_length") != spec.hop:
                note = f"its config says a hop of {data['hop_length']}, its layers make {spec.hop} samples of a frame; "
        model = build_vocoder("waveglow", given, spec, state, path, described or path)
        return Imported(
            model=model, kind="vocoder", name="waveglow", arguments=given, spec=spec, half=found.half,
            data={"origin": "WaveGlow (Prenger et al., arXiv:1811.00002)"},
            use=note + _doubt(halves) + speaks(spec),
        )  # fmt: skip


def _settings(file: Path) -> Mapping[str, Any]:
    with refused(file, "config.json of a published WaveGlow"):
        values = settings_of(plain(parse_json(read_small(file)), "config.json"), (), "config.json")
        for name in ("waveglow_config", "data_config"):
            settings_of(values.get(name, {}), (), f"config.json: its {name}")
        return values


def _doubt(known: str | None) -> str:
    """What only the ear can tell of a state_dict that nobody says the class of."""
    return "" if known else "its halves are taken as fixed, if it sounds broken import it with coupling=alternating; "
