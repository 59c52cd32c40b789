"""Several prepared corpora as one: names told apart, arrays left where they are, shares of the draws."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from revoice.audio.spec import FeatureSpec
from revoice.data.corpora.manifest import Manifest
from revoice.data.prepare.preparation import Prepared, Rejected
from revoice.data.read.columns import ArrayColumn, Columns
from revoice.data.read.mapped import Statistics
from revoice.data.read.store import Held, MemoryStore, room_on
from revoice.errors import UserError


def told_apart(speakers: Mapping[str, Iterable[str]]) -> dict[str, dict[str, str]]:
    """New names of each corpus's speakers: a name that two corpora have gets the corpus's in front.

    Twice or more often, where somebody else is called like that.

    >>> told_apart({"a": ["p1", "p2"], "b": ["p2"]})
    {'a': {'p1': 'p1', 'p2': 'a-p2'}, 'b': {'p2': 'b-p2'}}
    >>> told_apart({"a": ["p1", "b-p1"], "b": ["p1"]})
    {'a': {'p1': 'a-p1', 'b-p1': 'b-p1'}, 'b': {'p1': 'b-b-p1'}}
    """
    own = {part: list(dict.fromkeys(names)) for part, names in speakers.items()}
    owners = Counter(name for names in own.values() for name in names)
    taken = set(owners)
    found: dict[str, dict[str, str]] = {part: {} for part in own}
    for part, names in own.items():
        for name in names:
            new = name
            while new in taken and owners[name] > 1:
                new = f"{part}-{new}"
            taken.add(new)
            found[part][name] = new
    return found


def combined(manifests: Mapping[str, Manifest]) -> Manifest:
    """One manifest of several: ids carry the corpus's name, speakers are told apart, paths become absolute."""
    names = told_apart({part: manifest.speakers for part, manifest in manifests.items()})
    rows = [
        replace(row, id=f"{part}--{row.id}", speaker=names[part][row.speaker], path=str(manifest.file(row)))
        for part, manifest in manifests.items()
        for row in manifest
    ]
    return Manifest("+".join(m.corpus for m in manifests.values()), Path("/"), ()).with_rows(rows)


@dataclass(frozen=True)
class Mixed:
    """What `prepare` returned for each of several corpora.

    Attributes:
        parts: by name.
        shares: of the draws that each part gets, adding up to 1.
    """

    parts: Mapping[str, Prepared]
    shares: tuple[float, ...]

    @cached_property
    def manifest(self) -> Manifest:
        """The utterances of all parts, named apart as `combined` does."""
        return combined({name: part.manifest for name, part in self.parts.items()})

    @property
    def spec(self) -> FeatureSpec:
        """The features, which are the same in all parts."""
        return next(iter(self.parts.values())).spec

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """What could not be prepared, part after part."""
        return tuple(one for part in self.parts.values() for one in part.rejected)


class MixedStore(Held):
    """Several stores behind each other. A batch is gathered in one indexing step for each of them.

    Args:
        stores: by the name of their part.
        manifest: of all parts, named apart by `combined`.
        shares: see `Mixed`.

    Attributes:
        names: of the parts.
    """

    def __init__(self, stores: Mapping[str, MemoryStore], manifest: Manifest, shares: tuple[float, ...]) -> None:
        named = {row.id: row for row in manifest}
        rows = [named[f"{name}--{row.id}"] for name, store in stores.items() for row in store.rows]
        super().__init__(rows, {})
        self.names, self._stores = tuple(stores), [*stores.values()]
        sizes = [len(store) for store in self._stores]
        self.lengths = np.concatenate([store.lengths for store in self._stores])
        self.device = self._stores[0].device
        self.sources, self.shares = np.repeat(np.arange(len(sizes)), sizes), shares
        self._offset = np.concatenate([[0], np.cumsum(sizes)])

    @property
    def bytes(self) -> int:
        """Size of all arrays."""
        return sum(store.bytes for store in self._stores)

    def crops(self, field: str, utterances: np.ndarray, starts: np.ndarray, frames: int) -> Tensor:
        """Crops in the order asked for, each cut by the store that holds its utterance."""
        return self._each(
            utterances, lambda store, own, rows: store.crops(field, own, np.asarray(starts)[rows], frames)
        )

    def vectors(self, field: str, utterances: np.ndarray) -> Tensor:
        """Arrays in the order asked for, each from the store that holds its utterance."""
        return self._each(utterances, lambda store, own, rows: store.vectors(field, own))

    def utterance(self, field: str, position: int) -> Tensor:
        """All of one utterance, from the store that holds it."""
        source = int(self.sources[position])
        return self._stores[source].utterance(field, int(position - self._offset[source]))

    def statistics(self) -> Statistics:
        """Mean and deviation of the training features, each part with its share."""
        return pooled([store.statistics() for store in self._stores], self.shares)

    def require_long(self, positions: np.ndarray, minimum: int) -> None:
        """A `UserError` if of some part nothing is as long as `minimum` frames, so that it would not be drawn from."""
        long, sources = self.lengths[positions] >= minimum, self.sources[positions]
        for source in np.unique(sources) if long.any() else ():
            if not long[sources == source].any():
                raise UserError(
                    f"data.parts.{self.names[source]}: none of its {(sources == source).sum()} training utterances has "
                    f"the {minimum} frames that the model needs: leave it out, or give it longer ones"
                )

    def _each(self, utterances: np.ndarray, cut: Callable[[MemoryStore, np.ndarray, np.ndarray], Tensor]) -> Tensor:
        chosen = np.asarray(utterances, dtype=np.int64)
        found: Tensor | None = None
        # a part that does not fit onto the device stays on the CPU
        for source in np.unique(self.sources[chosen]):
            rows = np.flatnonzero(self.sources[chosen] == source)
            piece = cut(self._stores[source], chosen[rows] - self._offset[source], rows)
            if found is None:
                found = piece.new_empty((len(chosen), *piece.shape[1:]), device=self.device)
            found[torch.from_numpy(rows).to(self.device)] = piece.to(self.device)
        assert found is not None
        return found


def held(
    prepared: Prepared | Mixed, splits: Sequence[str], fields: Sequence[str], device: str | torch.device | None = None
) -> Held:
    """What was prepared, in memory, see `MemoryStore`; a mixture of one is a corpus as it is."""
    stores, room = dict[str, MemoryStore](), room_on(device)  # which all parts share
    for name, part in prepared.parts.items():
        stores[name] = MemoryStore(part, splits, fields, device, room)
        room -= 0 if stores[name].mapped else stores[name].bytes
    if len(stores) == 1:
        return next(iter(stores.values()))
    return MixedStore(stores, prepared.manifest, prepared.shares)


def shares_of(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights -> shares that add up to 1."""
    return tuple(float(weight) / sum(weights) for weight in weights)


def pooled(parts: Sequence[Statistics], shares: Sequence[float]) -> Statistics:
    """The statistics of a mixture in which each part has its share."""
    mean = sum((share * part.mean.double() for part, share in zip(parts, shares, strict=True)), torch.zeros(1).double())
    squares = [s * (p.std.double().square() + p.mean.double().square()) for p, s in zip(parts, shares, strict=True)]
    variance = (sum(squares, torch.zeros(1).double()) - mean.square()).clamp(min=0.0)
    return Statistics(mean.float(), variance.sqrt().float())


def appended(stores: Sequence[Columns]) -> Columns:
    """The utterances of several small stores in one."""
    stores = [store for store in stores if len(store)] or stores[:1]
    if len(stores) == 1:
        return stores[0]
    columns = {}
    for label in stores[0].labels:
        parts = [store.column(label) for store in stores]
        lengths = np.concatenate([part.lengths for part in parts])
        columns[label] = ArrayColumn(parts[0].about, lengths, torch.cat([part.array() for part in parts]))
    return Columns([row for store in stores for row in store.rows], columns)
