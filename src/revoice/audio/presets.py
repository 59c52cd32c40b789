"""Named feature presets: the yaml files of `configs/features`."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError, choices


def config_dir() -> Path:
    """The folder of configs: inside an installed package, or at the top of the repository."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parents[1] / "configs"


def preset_names() -> list[str]:
    """Names of all feature presets, sorted."""
    return sorted(path.stem for path in (config_dir() / "features").glob("*.yaml"))


@cache
def load_preset(name: str) -> FeatureSpec:
    """The spec of `configs/features/<name>.yaml`; `UserError` lists the valid names.

    >>> load_preset("mel_22k").channels
    80
    """
    path = config_dir() / "features" / f"{name}.yaml"
    if name not in preset_names():
        raise choices(name, preset_names(), "features")
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, Mapping):
        raise UserError(f"{path}: expected 'key: value' lines")
    return FeatureSpec.from_dict(values)


def typed(spec: FeatureSpec) -> list[str]:
    """What one types for these features: the nearest preset, and the fields that are not its own.

    >>> typed(load_preset("mel_24k100")), typed(FeatureSpec.from_dict(load_preset("mel_22k").to_dict() | {"hop": 128}))
    (['features=mel_24k100'], ['features=mel_22k', 'features.hop=128'])
    """
    name = min(preset_names(), key=lambda each: len(spec.differences(load_preset(each))))
    fields = [each.partition(":")[0] for each in spec.differences(load_preset(name))]
    values = spec.to_dict()
    shown = {field: "null" if values[field] is None else f"{values[field]}" for field in fields}
    return [f"features={name}", *(f"features.{field}={value}" for field, value in shown.items())]
