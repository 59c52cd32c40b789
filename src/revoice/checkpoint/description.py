"""What a checkpoint says about itself: everything besides the weights that a model needs to convert."""

import json
import logging
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Strict
from torch import Tensor

from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.settings import Given, Number, Positive, Word, from_mapping, settings
from revoice.untrusted import LARGEST, fits, plain
from revoice.version import __version__

log = logging.getLogger(__name__)
KEY = "revoice"  # the entry of a checkpoint (or of a safetensors header) that holds a `Description`
CHECKSUM = "crc32"  # beside the description in a safetensors header; the zip archive of a .ckpt has its own
FORMAT = 1
SENTENCES = 500_000  # most that are told of all corpora together: 4 MB
_MARK, _MARKS = 8, 1200  # letters of a sentence's mark, and marks in a string


@settings
class Description:
    """Everything besides the weights that a model needs to convert, or a vocoder to speak; plain values only.

    Attributes:
        model: registry name.  arguments: of its class.  kind: which registry; of "critics", several
            of which lie in one file, the arguments are by name.
        features: the `FeatureSpec` as a dict.
        trim_db: silence trimming of the training data, applied to reference clips too.
        fields: settings of the stored fields by kind, e.g. how f0 was searched; conversion computes them alike.
        speakers: names of the training speakers.  levels: their mean log-f0, where f0 is a field of the data.
        data: what it was trained on (corpus, manifest digest, ...).
        earlier: other training speakers of what it was started from and what it stands on, by their corpus ("":
            unknown).
        sentences: what was said in all that these and it were trained on, by corpus: the marks
            (`revoice.data.corpora.splits.mark`) one behind the other, some in each string; none of a corpus of which
            that is not known.
        version: of revoice.  format: of this description.
    """

    model: Word
    arguments: Given
    features: Given
    trim_db: Positive | None = None
    fields: dict[str, Given] = field(default_factory=dict)
    speakers: list[Annotated[str, Strict()]] = field(default_factory=list)
    levels: list[Number | None] = field(default_factory=list)
    data: Given = field(default_factory=dict)
    earlier: dict[str, list[Annotated[str, Strict()]]] = field(default_factory=dict)
    sentences: dict[str, list[Annotated[str, Strict()]]] = field(default_factory=dict)
    kind: Literal["model", "vocoder", "critics"] = "model"
    version: str = __version__
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.levels and len(self.levels) != len(self.speakers):
            raise UserError(f"{len(self.speakers)} speakers but {len(self.levels)} levels in the description")

    @property
    def heard(self) -> dict[str, list[str]]:
        """All training speakers by their corpus, those of `earlier` among them."""
        return joined([self.earlier, {self.corpus: self.speakers}])

    @property
    def corpus(self) -> str:
        """That it was trained on itself; "" if it is not known."""
        corpus = self.data.get("corpus")
        return corpus if isinstance(corpus, str) else ""

    def after(self, others: Iterable["Description"]) -> "Description":
        """The description of what goes on from others, or stands on them: what they have heard is told with it."""
        others = list(others)
        earlier = joined([self.earlier, *(each.heard for each in others)])
        own = set(self.speakers)
        earlier[self.corpus] = [name for name in earlier.get(self.corpus, []) if name not in own]
        marks: dict[str, set[str]] = {}
        for about in (self, *others):
            for corpus, strings in about.sentences.items():
                marks.setdefault(corpus, set()).update(unpacked(strings))
        return replace(self, earlier={key: names for key, names in earlier.items() if names}, sentences=packed(marks))

    def require_readable(self) -> None:
        """A `UserError`, before the work, if a checkpoint that says all this would be refused when it is read."""
        if not fits(self.to_dict()):
            raise UserError(
                f"{len(self.speakers):,} training speakers, and {sum(map(len, self.earlier.values())):,} that it was "
                "trained on earlier: more names than a checkpoint can hold; take fewer, e.g. data.speakers=[ann,bob] "
                "or data.splits.limit=50"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint; tuples become lists."""
        return json.loads(json.dumps(self.__dict__))

    @classmethod
    def from_dict(cls, values: Any) -> "Description":
        """Check and read what `to_dict` wrote: plain values of the right kinds."""
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise UserError(f"checkpoint format {_format(values)}, this revoice {__version__} reads {FORMAT}")
        plain(values, "the checkpoint's description")
        names = cls.__dataclass_fields__
        missing = {"model", "arguments", "features"} - values.keys()
        if missing:
            raise UserError(f"the checkpoint's description lacks {sorted(missing)[0]}")
        known = {key: value for key, value in values.items() if key in names}
        about = from_mapping(cls, known, "the checkpoint's description")
        plain(about.arguments, "the described model", LARGEST)
        return about


def joined(heard: Iterable[Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """Speakers by corpus of several systems in one; nobody twice.

    >>> joined([{"vctk": ["p1"]}, {"vctk": ["p2", "p1"], "folder": []}])
    {'vctk': ['p1', 'p2']}
    """
    found: dict[str, dict[str, None]] = {}
    for each in heard:
        for corpus, names in each.items():
            if names:
                found.setdefault(corpus, {}).update(dict.fromkeys(names))
    return {corpus: list(names) for corpus, names in found.items()}


def packed(marks: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Marks of sentences by corpus, in few strings; a corpus of more than there is room for is left out."""
    room, found = SENTENCES, {}
    for corpus, each in marks.items():
        ordered = sorted(each)
        if len(ordered) > room:
            log.info("checkpoints do not tell which of %d sentences of %s were trained on", len(ordered), corpus)
            continue
        room -= len(ordered)
        found[corpus] = ["".join(ordered[i : i + _MARKS]) for i in range(0, len(ordered), _MARKS)]
    return found


def unpacked(strings: Iterable[str]) -> set[str]:
    """The marks in what `packed` made.

    >>> sorted(unpacked(packed({"vctk": ["12345678", "abcdefgh"]})["vctk"]))
    ['12345678', 'abcdefgh']
    """
    return {text[i : i + _MARK] for text in strings for i in range(0, len(text) - _MARK + 1, _MARK)}


def spec_facts(spec: FeatureSpec) -> dict[str, int]:
    """What a model may ask of its features by the names of its parameters."""
    return {"n_features": spec.channels, "sample_rate": spec.sample_rate, "hop": spec.hop}


def checksum(about: Any, state: Mapping[str, Tensor]) -> str:
    """CRC-32 (8 hex digits) over a description and the names, types, shapes and bytes of tensors."""
    found = zlib.crc32(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(state.items()):
        found = zlib.crc32(f"{name} {value.dtype} {list(value.shape)}".encode(), found)
        found = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


def _format(values: Any) -> str:
    found = values.get("format") if isinstance(values, dict) else None
    return str(found) if isinstance(found, int | None) else type(found).__name__
