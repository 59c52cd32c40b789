"""Prepare a corpus: every field of every utterance into shards, once; the second call returns at once."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from revoice.audio.spec import FeatureSpec
from revoice.data.corpora.base import Corpus
from revoice.data.corpora.manifest import Manifest
from revoice.data.corpora.splits import Splits
from revoice.data.fields.base import Field, field_of
from revoice.data.files import dispensable, is_locked, locked, read_lines, remove_parts
from revoice.data.prepare.selection import Selection
from revoice.data.prepare.shards import shard_path
from revoice.errors import UserError, one_line
from revoice.settings import Count, Given, Positive, Processes, settings


@settings
class Preparation:
    """How stored fields are made (config group `data.prepare`).

    Attributes:
        trim_db: silence at both ends of a file that is this many dB below its loudest part is cut; None keeps it.
        workers: processes; 0 works in this one, None decides by cores and size.
        shard_utterances: utterances per shard.
        fields: settings by kind of field.
    """

    trim_db: Positive | None = None
    workers: Processes | None = None
    shard_utterances: Count = 512
    fields: dict[str, Given] = field(default_factory=dict)


@dataclass(frozen=True)
class Rejected:
    """An utterance that could not be prepared."""

    id: str
    path: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    """A corpus ready to be read.

    Attributes:
        manifest: the utterances that have every field, with splits, seconds and content hashes.
        spec: the features all fields are aligned with.
        folders: folder of each field by label.
        rejected: the utterances left out, with the first reason.
    """

    manifest: Manifest
    spec: FeatureSpec
    folders: dict[str, Path]
    rejected: tuple[Rejected, ...]

    @property
    def parts(self) -> dict[str, "Prepared"]:
        """A mixture of one, see `revoice.data.read.mixture.Mixed`."""
        return {self.manifest.corpus: self}

    @property
    def shares(self) -> tuple[float, ...]:
        """All of the draws."""
        return (1.0,)

    @property
    def manifest_file(self) -> Path:
        """Where the manifest is recorded."""
        return next(iter(self.folders.values())).parent / f"manifest-{self.manifest.digest()}.jsonl"


def prepare(
    corpus: Corpus,
    spec: FeatureSpec,
    fields: Sequence[str | Field],
    out_dir: Path,
    splits: Splits | None = None,
    how: Preparation | None = None,
    *,
    progress: bool = True,
) -> Prepared:
    """Compute and store what is missing; safe to call from several processes at once.

    The shards lie in `out_dir/CORPUS/SELECTION/FIELD-KEY/`, SELECTION being a hash over the contents of the chosen
    files and the trimming, KEY one over the field's parameters. Utterances are in the order of a hash of their ids, so
    that any few shards hold a fair sample of the corpus. An interrupted call is taken up at its last whole shard; the
    result has the same bytes however often it was interrupted and whatever the number of workers. Where nothing can be
    written, as in a folder of somebody else, what is whole there is taken as it is.

    Args:
        corpus: what to read.
        spec: feature spec of `features`, and the frames that other fields are aligned with.
        fields: labels ("features", "f0", ...) or field objects.
        out_dir: folder of all prepared data.
        splits: how to split; None takes the defaults.
        how: None takes the defaults.
        progress: show a bar.

    Raises:
        UserError: nothing found at the root, unknown field, or no utterance could be prepared.
    """
    how = how or Preparation()
    wanted, manifest, base = _task(corpus, spec, fields, out_dir, splits, how)
    with _locked_if_ours(base) as refusal:
        job = Selection.of(manifest, base, how.trim_db, how.shard_utterances)
        for place in () if refusal else (base, job.folder):
            remove_parts(place)
        with _disk_trouble(job.folder):
            missing = job.missing(wanted)
        if missing:
            if refusal:
                raise refusal
            for other in sorted(job.folder.glob(".share-*.lock")):
                with locked(job.folder, other.name):  # another machine's share, if it is at work: its shards are needed
                    pass
            with _disk_trouble(job.folder):
                for f in missing:
                    remove_parts(job.folder / f.folder)
                job.compute(missing, range(len(job.shards)), how.workers, progress)
                for f in missing:
                    job.finish(f)
        result = _collect(job.manifest, spec, {f.label: job.folder / f.folder for f in wanted})
        record = result.manifest_file
        if not record.exists():
            with dispensable():
                result.manifest.save(record)
    return result


def prepare_share(
    corpus: Corpus,
    spec: FeatureSpec,
    fields: Sequence[str | Field],
    out_dir: Path,
    share: tuple[int, int],
    splits: Splits | None = None,
    how: Preparation | None = None,
    *,
    progress: bool = True,
) -> int:
    """One machine's part of a preparation into a folder that all of them see: `prepare` then merges what is there.

    Args:
        share: (k, n): the shards whose number is k modulo n.
        others: as `prepare` takes them, the same on every machine.

    Returns:
        How many shards are still missing, which other shares have to write.
    """
    k, n = share
    if not 0 <= k < n:
        raise UserError(f"prepare.shard={k} of prepare.shards={n}: expected 0 to {n - 1} of 1 or more")
    how = how or Preparation()
    wanted, manifest, base = _task(corpus, spec, fields, out_dir, splits, how)
    with ExitStack() as held:
        with locked(base):
            job = Selection.of(manifest, base, how.trim_db, how.shard_utterances)
            _same_shares(job.folder, n)
            held.enter_context(locked(job.folder, f".share-{k}-of-{n}.lock"))
        held.enter_context(_disk_trouble(job.folder))
        mine, missing = range(k, len(job.shards), n), job.missing(wanted)
        for f in missing:
            remove_parts(job.folder / f.folder, mine)
        job.compute(missing, mine, how.workers, progress)
    written = [
        shard_path(job.folder / f.folder, i).exists() for f in job.missing(wanted) for i in range(len(job.shards))
    ]
    return written.count(False)


def _same_shares(folder: Path, n: int) -> None:
    """Shares of one number at a time: those of another would write the same shards."""
    for other in folder.glob(".share-*.lock"):
        count = other.stem.rpartition("-")[2]
        if count != str(n) and is_locked(other):
            raise UserError(
                f"{folder} is being prepared in {count} shares, and this is one of {n}: "
                f"type prepare.shards={count}, or wait until those are done"
            )


def _task(
    corpus: Corpus,
    spec: FeatureSpec,
    fields: Sequence[str | Field],
    out_dir: Path,
    splits: Splits | None,
    how: Preparation,
) -> tuple[list[Field], Manifest, Path]:
    """The fields, the utterances with their splits, and the folder of the corpus."""
    if not fields:
        raise UserError("fields=[]: expected at least one, e.g. fields=[features]")
    wanted = [field_of(f, spec, how.fields) for f in fields]
    manifest = (splits or Splits()).assign(corpus.manifest())
    return wanted, manifest, Path(out_dir).expanduser().absolute() / manifest.corpus


@contextmanager
def _locked_if_ours(base: Path) -> Iterator[UserError | None]:
    """`locked`; where somebody else prepared, and nothing can be written, the refusal: what is whole can be read."""
    with ExitStack() as held:
        refusal = None
        try:
            held.enter_context(locked(base))
        except UserError as error:
            if not base.is_dir():
                raise
            refusal = error
        yield refusal


@contextmanager
def _disk_trouble(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"preparing into {folder} failed: {error.strerror or error}; "
            "whole shards are kept: mend that and start again"
        ) from error


def _collect(manifest: Manifest, spec: FeatureSpec, folders: dict[str, Path]) -> Prepared:
    """What all fields have in common."""
    rejected: dict[str, Rejected] = {}
    seconds: dict[str, float] = {}
    for folder in folders.values():
        try:
            lines = read_lines(folder / "rejected.jsonl")
            gone = [Rejected(line["id"], line["path"], line["reason"]) for line in lines]
            stored = {line["id"]: line["seconds"] for line in read_lines(folder / "utterances.jsonl")}
            if {*stored, *(r.id for r in gone)} != {row.id for row in manifest}:
                raise ValueError("they do not tell of the utterances of the corpus")
        except (ValueError, LookupError, TypeError, OSError) as error:
            raise UserError(
                f"{folder}: utterances.jsonl or rejected.jsonl is damaged ({one_line(error, 120)}): delete index.json "
                "there and prepare again"
            ) from error
        for one in gone:
            rejected.setdefault(one.id, one)
        seconds |= stored
    rows = [replace(row, seconds=seconds[row.id]) for row in manifest if row.id not in rejected]
    if not rows:
        first = "; ".join(f"{r.path}: {r.reason}" for r in list(rejected.values())[:3])
        raise UserError(f"none of the {len(manifest)} utterances in {manifest.root} can be used: {first}")
    return Prepared(manifest.with_rows(rows), spec, folders, tuple(rejected[id] for id in sorted(rejected)))
