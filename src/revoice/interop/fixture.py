"""Golden tensors of a published program: what went in, what came out, and how exact that is."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from revoice.errors import UserError, one_line
from revoice.foreign import parse_json
from revoice.untrusted import refused


@dataclass(frozen=True)
class Fixture:
    """One recorded run: `<name>.json` beside `<name>.safetensors`.

    Attributes:
        path: the JSON file.
        case: which function of `revoice.interop.cases` reproduces it.
        config: settings of the published program.
        state: its weights.  inputs: what it was given.  outputs: what it returned.
        tolerance: largest absolute error allowed per output.
        mode: how the network was run.  notes: remarks on the outputs.
        order: all tensor names as the description lists them.
        weights: file of the published weights, where they are not part of the fixture.
    """

    path: Path
    case: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    tolerance: dict[str, float]
    mode: str = ""
    notes: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    weights: Path | None = None

    def listed(self, kind: str) -> list[str]:
        """Names of the tensors of a kind ("in", "out", "state") in the order of the description."""
        return [name.removeprefix(f"{kind}/") for name in self.order if name.startswith(f"{kind}/")]

    def setting(self, name: str, default: Any = None) -> Any:
        """A value of `config`; a missing one without default is a `UserError`."""
        if name in self.config:
            return self.config[name]
        if default is None:
            raise UserError(f"{self.path}: its config has no '{name}', which case '{self.case}' needs")
        return default

    def input(self, name: str) -> Tensor:
        """An input tensor; a missing one is a `UserError`."""
        if name not in self.inputs:
            raise UserError(f"{self.path}: no input '{name}' (it has: {', '.join(sorted(self.inputs))})")
        return self.inputs[name]


def load_fixture(path: str | Path) -> Fixture:
    """Read a fixture; `UserError` says what is missing or malformed."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such fixture; expected a .json file with a .safetensors file beside it")
    tensor_path = path.with_suffix(".safetensors")
    if not tensor_path.is_file():
        raise UserError(f"{path}: its tensors {tensor_path.name} are not beside it")
    with refused(path, "fixture"):
        described = parse_json(path.read_text(encoding="utf-8"))
        tensors = load_file(tensor_path)
    if not isinstance(described, dict) or not isinstance(described.get("case"), str):
        raise UserError(f"{path}: not a fixture: it names no case")
    noise = described.get("outputs_noise", {})
    outputs = _group(tensors, "out/")
    if not outputs:
        raise UserError(f"{path}: records no outputs to compare with")
    return Fixture(
        path=path,
        case=described["case"],
        config=described.get("config", {}),
        state=_group(tensors, "state/"),
        inputs=_group(tensors, "in/"),
        outputs=outputs,
        tolerance={name: _tolerance(noise.get(name, {}), value) for name, value in outputs.items()},
        mode=described.get("mode", ""),
        notes=tuple(described.get("notes", ())),
        order=tuple(described.get("tensors") or tensors),
        weights=_weights(path, described.get("weights")),
    )


def _weights(path: Path, named: Any) -> Path | None:
    """The file of weights, named from one of the folders above the fixture."""
    if named is None:
        return None
    places = [folder / str(named) for folder in path.resolve().parents]
    found = next((file for file in places if os.path.isfile(file)), None)
    if found is None:
        raise UserError(f"{path}: its weights {one_line(named)} are in none of the folders above it")
    return found


def _group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _tolerance(noise: dict[str, Any], value: Tensor) -> float:
    if "suggested_atol" in noise:
        return float(noise["suggested_atol"])
    return 1e-6 * float(value.abs().max()) if value.is_floating_point() and value.numel() else 0.0
