"""From plain settings (`configs/data/*.yaml`) to a corpus or several, their splits and their preparation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from revoice.data.corpora.base import CORPORA
from revoice.data.corpora.splits import Splits
from revoice.data.fields.base import FIELDS
from revoice.data.prepare.preparation import Preparation
from revoice.data.setup import CorpusSetup, DataSetup, MixtureSetup, Streaming
from revoice.errors import UserError, choices
from revoice.settings import (
    Count,
    Device,
    Flag,
    Given,
    Names,
    Place,
    Positive,
    Word,
    checked,
    from_mapping,
    settings,
)  # fmt: skip

MIXTURE = "mixture"  # the `name` of several corpora


@settings
class Paths:
    """Where things lie (config group `paths`)."""

    prepared_dir: Place
    data_dir: Place | None = None
    output_dir: Place | None = None


@settings
class _Common:
    name: Word
    batch_size: Count = 32
    device: Device | None = None
    stream: Flag = False
    streaming: Streaming | None = None
    generated_by: Word | None = None
    speakers: Names | None = None


@settings
class _Corpus(_Common):
    root: Place | None = None
    corpus: Given | None = None
    splits: Splits | None = None
    prepare: Preparation | None = None


@settings
class _Mixture(_Common):
    parts: dict[Word, Given]
    weights: Literal["balanced"] | dict[Word, Positive] | None = None
    splits: Given | None = None
    prepare: Given | None = None


def build(config: Mapping[str, Any]) -> DataSetup:
    """The objects behind a data config of plain values.

    Args:
        config: `name` (of the corpus), `root`, `speakers` (names, of which alone anything is read; null: all),
            `batch_size`, `device`, `stream`, `generated_by` (checkpoint of a model whose field "generated" is computed,
            where it is asked for), and the mappings `streaming` (of
            `Streaming`), `corpus` (settings of the reader besides the root), `splits` (of `Splits`), `prepare` (of
            `Preparation`). Or, with the name "mixture": `parts`, each such a mapping, their `weights`, and
            `splits` and `prepare` with what is to hold for all of them (null: what each says itself).

    Raises:
        UserError: an unknown name or key.
    """
    name = checked(Given, config, "data").get("name")
    return _mixture(from_mapping(_Mixture, config, "data")) if name == MIXTURE else _corpus(config, "data")


def _corpus(config: Mapping[str, Any], where: str) -> CorpusSetup:
    c = from_mapping(_Corpus, config, where)
    splits = c.splits or Splits()
    reader = {"root": c.root, **(c.corpus or {})}
    corpus = CORPORA.build(c.name, reader, {"limit": splits.limit}, what=f"{where}.corpus")
    corpus.only = c.speakers
    return CorpusSetup(
        corpus=corpus,
        splits=splits,
        preparation=_known_fields(c.prepare or Preparation(), c.generated_by, where),
        batch_size=c.batch_size,
        device=c.device,
        stream=c.stream,
        streaming=c.streaming or Streaming(),
    )


def _known_fields(preparation: Preparation, generated_by: str | None, where: str) -> Preparation:
    """Refuse settings of stored fields that those do not take."""
    if generated_by is not None:
        made = {"generated": {**preparation.fields.get("generated", {}), "by": generated_by}}
        preparation = replace(preparation, fields={**preparation.fields, **made})
    for kind, how in preparation.fields.items():
        if kind not in FIELDS.names():
            raise choices(kind, FIELDS.names(), f"field ({where}.prepare.fields)")
        FIELDS.check(kind, how, f"{where}.prepare.fields.{kind}", facts=("spec", "how"))
    return preparation


def _mixture(c: _Mixture) -> MixtureSetup:
    if len(c.parts) < 2:
        raise UserError(
            "data=mixture: fewer than two parts; expected e.g. +data@data.parts.a=vctk +data@data.parts.b=librispeech"
        )
    streaming = c.streaming or Streaming()
    if streaming.address:
        raise UserError(
            "data.streaming.address: a mixture has one for each part: data.parts.NAME.streaming.address=..."
        )
    if c.speakers is not None:
        raise UserError("data.speakers: a mixture has them for each part: data.parts.NAME.speakers=[...]")
    parts = {}
    for name, part in c.parts.items():
        everywhere = {key: _given(getattr(c, key)) for key in ("splits", "prepare")}
        own = {key: checked(Given, part.get(key) or {}, f"data.parts.{name}.{key}") for key in everywhere}
        both = {key: {**own[key], **given} for key, given in everywhere.items()}
        more = {"stream": c.stream, "device": None, "generated_by": c.generated_by}
        parts[name] = _corpus({**_of_all(part, everywhere["splits"]), **both, **more}, f"data.parts.{name}")
    first, *others = parts.values()
    for name in ("trim_db", "fields"):
        if any(getattr(part.preparation, name) != getattr(first.preparation, name) for part in others):
            raise UserError(f"data.parts.*.prepare.{name} must be the same in all parts: a model knows one")
    return MixtureSetup(
        parts=parts, weights=_weights(c.weights, list(parts)), preparation=first.preparation,
        batch_size=c.batch_size, device=c.device, stream=c.stream, streaming=streaming,
    )  # fmt: skip


def _of_all(part: dict[str, Any], splits: Mapping[str, Any]) -> dict[str, Any]:
    """The part; if it is made of another corpus, the splits of all parts hold for that one too."""
    corpus = part.get("corpus")
    of = corpus.get("of") if isinstance(corpus, Mapping) else None
    own = of.get("splits") if isinstance(of, Mapping) else None
    if not splits or not isinstance(own, Mapping) or not isinstance(of, Mapping) or not isinstance(corpus, Mapping):
        return part
    return {**part, "corpus": {**corpus, "of": {**of, "splits": {**own, **splits}}}}


def _given(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (settings or {}).items() if value is not None}


def _weights(given: str | Mapping[str, float] | None, names: Sequence[str]) -> dict[str, float] | None:
    if given is None:
        return None
    if isinstance(given, str):
        return dict.fromkeys(names, 1.0)
    for name in given:
        if name not in names:
            raise choices(name, names, "part (data.weights)")
    for name in names:
        if name not in given:
            raise UserError(f"data.weights.{name} is missing: expected a number above 0 for each part")
    return {name: given[name] for name in names}
