"""Makes a stream of a prepared corpus: writes the index that a reader needs besides the shards."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from revoice.data.columns import decoded
from revoice.data.facts import Facts
from revoice.data.files import locked, write_json, write_lines
from revoice.data.packed import Sums
from revoice.data.prepare import Prepared
from revoice.data.shards import ShardWriter, read_shard, shard_lines
from revoice.data.stream import FORMAT, VALIDATION, plain
from revoice.data.tables import Tables
from revoice.errors import UserError


def write_stream(prepared: Prepared) -> Path:
    """Write the index of a prepared corpus beside its fields, in one pass over the shards; the folder of the index.

    It holds the names of the speakers, which utterances are to be trained on, the statistics, and a copy of
    `VALIDATION` utterances. A second call returns at once.
    """
    if "features" not in prepared.folders:
        raise UserError("stream=true: a stream holds the features besides: add features to fields=[...]")
    names = "\n".join([prepared.manifest.digest(), *(folder.name for folder in prepared.folders.values())])
    some = next(iter(prepared.folders.values()))
    folder = some.parent / f"stream-{hashlib.sha256(names.encode()).hexdigest()[:12]}"
    with locked(some.parent, ".stream.lock"):
        if not (folder / "index.json").exists():
            try:
                _write(prepared, folder)
            except OSError as error:
                raise UserError(f"writing {folder} failed: {error.strerror or error}") from error
    return folder


def _write(prepared: Prepared, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = {row.id: row for row in prepared.manifest.select("train", "val")}
    tables = Tables.of(row for row in rows.values() if row.split == "train")
    if not tables.speakers:
        raise UserError(f"no training utterances among the {len(prepared.manifest)} prepared: lower data.splits.*")
    kept = sorted((row.id for row in rows.values() if row.split == "val"), key=_shuffled)[:VALIDATION]
    about = {k: json.loads((place / "index.json").read_text(encoding="utf-8")) for k, place in prepared.folders.items()}
    writers = {label: ShardWriter(folder / f"validation-{plain(label)}", 0, label) for label in about}
    sums, pitches = Sums(), {name: [0.0, 0] for name in tables.speakers}
    shards, counts = about["features"]["shards"], []
    try:
        for index, name in enumerate(shards):
            whole = [
                {line["id"] for line in shard_lines(p, index) if "reason" not in line}
                for p in prepared.folders.values()
            ]
            ids = [line["id"] for line in shard_lines(prepared.folders["features"], index)]
            taught = [
                rows[id] for id in ids if id in rows and rows[id].split == "train" and all(id in w for w in whole)
            ]
            places = tables.index(taught)
            lines = zip(
                (row.id for row in taught), *(places[k].tolist() for k in ("speaker", "gender", "emotion")), strict=True
            )
            write_lines(folder / f"{Path(name).stem}.jsonl", lines)
            counts.append((name, len(taught)))
            train, held = {row.id for row in taught}, set(kept)
            for label, place in prepared.folders.items():
                for id, array in read_shard(place / name):
                    if label == "features" and id in train:
                        sums.add(decoded(torch.from_numpy(array), about[label]["scale"]))
                    if label == "f0" and id in train:
                        voiced, pitch = array[array > 0], pitches[rows[id].speaker]
                        pitch[0] += float(np.log(voiced.astype(np.float64)).sum())
                        pitch[1] += len(voiced)
                    if id in held:
                        writers[label].add(id, array, rows[id].seconds, 0.0)
        for writer in writers.values():
            writer.close()
    finally:
        for writer in writers.values():
            writer.abandon()
    write_lines(
        folder / "validation.jsonl",
        ({f: getattr(rows[id], f) for f in ("id", "path", "speaker", "gender", "emotion", "split")} for id in kept),
    )
    found = sums.statistics()
    write_json(
        folder / "index.json",
        {
            "format": FORMAT,
            "spec": prepared.spec.to_dict(),
            "fields": {
                label: {
                    "folder": f"../{prepared.folders[label].name}",
                    **{key: values[key] for key in ("per_frame", "padding", "scale", "dtype", "parameters")},
                }
                for label, values in about.items()
            },
            "trim_db": about["features"]["trim_db"],
            "speakers": tables.speakers,
            "emotions": tables.emotions,
            "levels": [total / count if count else None for total, count in pitches.values()] if "f0" in about else [],
            "statistics": {"mean": found.mean.tolist(), "std": found.std.tolist()},
            "facts": vars(replace(Facts.of(prepared), validation=len(kept))),
            "shards": counts,
        },
    )


def _shuffled(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()
