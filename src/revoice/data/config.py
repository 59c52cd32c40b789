"""From plain settings (`configs/data/*.yaml`) to a corpus or several, their splits and their preparation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from revoice.data.corpora.base import CORPORA
from revoice.data.corpora.splits import Splits
from revoice.data.prepare.preparation import Preparation
from revoice.data.setup import CorpusSetup, DataSetup, MixtureSetup, Streaming
from revoice.errors import UserError, choices
from revoice.registry import from_mapping

MIXTURE = "mixture"  # the `name` of several corpora


@dataclass(frozen=True, kw_only=True)
class _Config:
    name: str
    root: str | None = None
    batch_size: int = 32
    device: str | None = None
    stream: bool = False
    streaming: Mapping[str, Any] = field(default_factory=dict)
    corpus: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Any] = field(default_factory=dict)
    prepare: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Mixture:
    name: str
    parts: Mapping[str, Mapping[str, Any]]
    weights: Any = None
    batch_size: int = 32
    device: str | None = None
    stream: bool = False
    streaming: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Any] = field(default_factory=dict)
    prepare: Mapping[str, Any] = field(default_factory=dict)


def build(config: Mapping[str, Any]) -> DataSetup:
    """The objects behind a data config of plain values.

    Args:
        config: `name` (of the corpus), `root`, `batch_size`, `device`, `stream`, and the mappings `streaming` (of
            `Streaming`), `corpus` (settings of the reader besides the root), `splits` (of `Splits`), `prepare` (of
            `Preparation`). Or, with the name "mixture": `parts`, each such a mapping, their `weights`, and
            `splits` and `prepare` with what is to hold for all of them (null: what each says itself).

    Raises:
        UserError: an unknown name or key.
    """
    if config.get("name") == MIXTURE:
        return _mixture(from_mapping(_Mixture, config, "data"))
    return _corpus(config, "data")


def _corpus(config: Mapping[str, Any], where: str) -> CorpusSetup:
    c = from_mapping(_Config, config, where)
    splits = from_mapping(Splits, c.splits or {}, f"{where}.splits")
    return CorpusSetup(
        corpus=CORPORA.build(c.name, {"root": c.root, **(c.corpus or {})}, {"limit": splits.limit}),
        splits=splits,
        preparation=from_mapping(Preparation, c.prepare or {}, f"{where}.prepare"),
        batch_size=int(c.batch_size),
        device=c.device,
        stream=c.stream,
        streaming=from_mapping(Streaming, c.streaming or {}, f"{where}.streaming"),
    )


def _mixture(c: _Mixture) -> MixtureSetup:
    if len(c.parts) < 2:
        raise UserError(
            "data=mixture: fewer than two parts; expected e.g. +data@data.parts.a=vctk +data@data.parts.b=librispeech"
        )
    streaming = from_mapping(Streaming, c.streaming or {}, "data.streaming")
    if streaming.address:
        raise UserError(
            "data.streaming.address: a mixture has one for each part: data.parts.NAME.streaming.address=..."
        )
    parts = {}
    for name, part in c.parts.items():
        everywhere = {key: _given(getattr(c, key)) for key in ("splits", "prepare")}
        both = {key: {**(part.get(key) or {}), **given} for key, given in everywhere.items()}
        parts[name] = _corpus({**part, **both, "stream": c.stream, "device": None}, f"data.parts.{name}")
    first, *others = parts.values()
    for name in ("trim_db", "fields"):
        if any(getattr(part.preparation, name) != getattr(first.preparation, name) for part in others):
            raise UserError(f"data.parts.*.prepare.{name} must be the same in all parts: a model knows one")
    return MixtureSetup(
        parts=parts, weights=_weights(c.weights, list(parts)), preparation=first.preparation,
        batch_size=int(c.batch_size), device=c.device, stream=c.stream, streaming=streaming,
    )  # fmt: skip


def _given(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (settings or {}).items() if value is not None}


def _weights(given: Any, names: Sequence[str]) -> dict[str, float] | None:
    if given is None:
        return None
    if given == "balanced":
        return dict.fromkeys(names, 1.0)
    if not isinstance(given, Mapping):
        raise UserError(f"data.weights={given}: expected null, balanced, or a number for each of {', '.join(names)}")
    for name in given:
        if name not in names:
            raise choices(name, names, "part (data.weights)")
    for name in names:
        if not isinstance(given.get(name), (int, float)) or not 0 < given[name] < math.inf:
            raise UserError(f"data.weights.{name}={given.get(name)}: expected a number above 0 for each part")
    return {name: float(given[name]) for name in names}
