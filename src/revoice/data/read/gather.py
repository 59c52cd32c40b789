"""From crops to a batch: the one function that gathers what a model requires."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from revoice.data.read.batch import Batch, Requires
from revoice.data.read.columns import Columns
from revoice.data.read.sampler import Crops
from revoice.nn.draws import Draws


def labels_of(requires: Requires) -> tuple[str, ...]:
    """The fields to read: the features, unless there is no time axis, and what else is required."""
    if requires.frames is None:
        return requires.fields
    return ("features", *(label for label in requires.fields if label != "features"))


def gather(
    store: Columns, places: Mapping[str, Tensor], requires: Requires, crops: Crops, draws: Draws | None = None
) -> Batch:
    """Gather crops into a batch, on the store's device.

    Args:
        store: where they are.
        places: (N,) of all utterances in the tables of names: speaker, gender, emotion.
        requires: what the model needs.
        crops: which.
        draws: random numbers to go with them.
    """
    chosen, frames = crops.utterances, requires.crop
    found: dict[str, Any] = {}
    for label in requires.fields:
        name = label.partition(":")[0]
        if label == "embedding":  # another clip's where there is one: a voice must not be told by the clip to be said
            found[name] = store.vectors(label, crops.references if requires.reference else chosen)
        elif label != "features":
            found[name] = store.crops(label, chosen, crops.starts, frames)
    if "f0" in found:
        found["voiced"] = found["f0"] > 0
    if requires.reference:
        found["reference"] = store.crops("features", crops.references, crops.reference_starts, requires.reference)
    if requires.parallel:
        found |= _parallel(store, places, requires, crops)
    valid = np.minimum(store.lengths[chosen] - crops.starts, frames)
    return Batch(
        id=tuple(store.ids[chosen]),
        features=store.crops("features", chosen, crops.starts, frames) if frames else _no_frames(store, len(chosen)),
        lengths=torch.from_numpy(valid).to(store.device),
        draws=draws,
        **{name: values[chosen].to(store.device) for name, values in places.items()},
        **found,
    )


def _parallel(store: Columns, places: Mapping[str, Tensor], requires: Requires, crops: Crops) -> dict[str, Tensor]:
    """What a batch has of recordings that say the same."""
    others, starts, frames = crops.parallels, crops.parallel_starts, requires.parallel
    assert others is not None and starts is not None, "crops are drawn with what is required"
    found = {
        "parallel": store.crops("features", others, starts, frames),
        "parallel_lengths": torch.from_numpy(np.minimum(store.lengths[others] - starts, frames)).to(store.device),
        "parallel_emotion": places["emotion"][others].to(store.device),
    }
    if "f0" in requires.fields:
        found["parallel_f0"] = store.crops("f0", others, starts, frames)
    return found


def _no_frames(store: Columns, count: int) -> Tensor:
    """Features (B, 0, 0) of a model without a time axis."""
    return torch.zeros(count, 0, 0, device=store.device)


def labeled(places: Mapping[str, Tensor], requires: Requires, positions: np.ndarray) -> np.ndarray:
    """Those of the positions whose labels are all known that a model cannot do without."""
    known = [places[label][positions].numpy() >= 0 for label in requires.labels]
    return positions[np.logical_and.reduce(known)] if known else positions


def grouped(
    places: Mapping[str, Tensor], requires: Requires, positions: np.ndarray, size: int, processes: int
) -> list[np.ndarray]:
    """Positions (N,), as many for each process, in groups of at most `size` for each.

    Where labels are needed, every group has about as many of each as the whole, and all groups are about as large.
    """
    step = size * processes
    groups = [positions[i : i + step] for i in range(0, len(positions), step)]
    if requires.labels and groups:
        rows = spread([places[label][positions].numpy() for label in requires.labels], positions)
        groups = [part.reshape(-1) for part in np.array_split(rows.reshape(-1, processes), len(groups))]
    return groups


def spread(places: Sequence[np.ndarray], positions: np.ndarray) -> np.ndarray:
    """Positions (N,) in an order in which every stretch has about as many of each label as the whole.

    Args:
        places: of each kind of label that of each position (N,).
        positions: in an order that stays within those of equal labels.

    >>> spread([np.array([0, 0, 0, 0, 1, 1])], np.arange(6)).tolist()
    [0, 4, 1, 2, 5, 3]
    """
    _, group, sizes = np.unique(np.stack(places, axis=1), axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    rank = np.empty(len(group))
    for each, size in enumerate(sizes):
        rank[group == each] = (np.arange(size) + 0.5) / size
    return positions[np.argsort(rank, kind="stable")]


def concatenated(batches: Sequence[Batch], draws: Draws | None = None) -> Batch:
    """One batch of several that have the same fields, with these `draws`."""
    merged: dict[str, Any] = {"id": tuple(id for batch in batches for id in batch.id), "draws": draws}
    for f in fields(Batch):
        values = [getattr(batch, f.name) for batch in batches]
        if f.name not in merged and isinstance(values[0], Tensor):
            merged[f.name] = torch.cat(values) if len(values) > 1 else values[0]
    return Batch(**merged)
