"""What a stored field is: a name, parameters that key its folder, and a function of decoded clips."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from revoice.audio.spec import FeatureSpec
from revoice.data.fields.clip import Clip
from revoice.data.files import plain_label
from revoice.registry import Registry

FIELDS: "Registry[Field]" = Registry("field", "revoice.data.fields", typed="data.prepare.fields.{name}")


class Field(ABC):
    """A quantity stored for every utterance.

    A new field is one file in this package: a frozen dataclass decorated with `@FIELDS.register(name)`, picklable
    (heavy objects are looked up inside `compute`, where a worker process caches them). A field that needs a trained
    network lies in a layer that knows some (`conversion.posteriors`), or whoever has the network hands an instance
    to `prepare`.

    Class attributes:
        name: registry name, set by the decorator.
        revision: raised when `compute` changes its result, so that old files are not mistaken for new ones.
        dtype: numpy type on disk.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1
    dtype: str

    @property
    def label(self) -> str:
        """The field as models require it: the name, or "name:how" where one kind of field has many makers."""
        return self.name

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Plain values that decide the result; equal parameters share the stored files."""

    @property
    def per_frame(self) -> float | None:
        """Entries along the first axis per feature frame (1: aligned with features); None: one array per utterance."""
        return 1

    @property
    def padding(self) -> float | list[float]:
        """What stands behind the end of an utterance: a number, or one per column."""
        return 0.0

    @property
    def scale(self) -> float | None:
        """What 1 on disk is worth when read (as float32); None: integers are read as integers."""
        return 1.0

    @abstractmethod
    def compute(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """One array per clip, time first: (T, columns) or (T,); any shape where `per_frame` is None.

        Each result must not depend on the other clips of the call. A `UserError` rejects the utterance.
        """

    @property
    def key(self) -> str:
        """10 hex digits over the parameters."""
        values = {"revision": self.revision, "dtype": self.dtype, **self.parameters()}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]

    @property
    def folder(self) -> str:
        """Name of the folder that holds the field."""
        return f"{plain_label(self.label)}-{self.key}"

    def describe(self) -> dict[str, Any]:
        """What `index.json` says of the field: enough to read it back without this class."""
        return {
            "field": self.label,
            "key": self.key,
            "revision": self.revision,
            "parameters": self.parameters(),
            "dtype": self.dtype,
            "per_frame": self.per_frame,
            "padding": self.padding,
            "scale": self.scale,
        }


def build_field(label: str, spec: FeatureSpec, settings: Mapping[str, Mapping[str, Any]] | None = None) -> Field:
    """The field a model requires by `label`.

    Args:
        label: "features", "f0", ..., or "kind:how".
        spec: the features every field is aligned with.
        settings: settings by kind of field, e.g. `{"f0": {"method": "harvest"}}`.
    """
    kind, _, how = label.partition(":")
    return FIELDS.build(kind, (settings or {}).get(kind, {}), {"spec": spec, "how": how})


def field_of(wanted: str | Field, spec: FeatureSpec, settings: Mapping[str, Mapping[str, Any]] | None = None) -> Field:
    """A field that somebody's network makes as it is, any other by its label, see `build_field`."""
    return wanted if isinstance(wanted, Field) else build_field(wanted, spec, settings)
