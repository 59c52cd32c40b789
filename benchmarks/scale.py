"""Memory of both readers, and of a manifest, at the size of VCTK and at 10 and 100 times that.

    python benchmarks/scale.py [--batches 400] [--rows 44000 440000]

Shards are real, 512 utterances of 3 s each; larger corpora are the same shards under more names. Each figure is the
largest resident set of a process of its own; for shards that are mapped it is the memory that belongs to no file.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from reading import corpus

T = TypeVar("T")
VCTK = 44_000  # utterances of one microphone
SHARDS = 8  # that are really there


def grown(stream: Path, factor: float) -> Path:
    """A stream of `factor` times VCTK beside the given one, its files links to those."""
    index = json.loads((stream / "index.json").read_text(encoding="utf-8"))
    features = stream / index["fields"]["features"]["folder"]
    place = stream.parent / f"times-{factor}"
    target, names = place / "features", []
    target.mkdir(parents=True)
    (place / "stream").mkdir()
    for number in range(round(VCTK * factor / 512)):
        name, count = index["shards"][number % len(index["shards"])]
        new = f"shard-{number:06d}"
        os.link(features / name, target / f"{new}.tar")
        os.link(stream / f"{Path(name).stem}.jsonl", place / "stream" / f"{new}.jsonl")
        names.append((f"{new}.tar", count))
    for file in stream.glob("validation*"):
        os.symlink(file, place / "stream" / file.name)
    index["fields"]["features"]["folder"] = "../features"
    (place / "stream" / "index.json").write_text(json.dumps({**index, "shards": names}), encoding="utf-8")
    return place / "stream"


def mapped(features: Path, factor: float) -> Path:
    """A field of `factor` times VCTK beside the given one, whose shards were looked through at an earlier start."""
    from revoice.data.files import read_lines, write_json, write_lines
    from revoice.data.prepare.places import PLACES, Contents, find_places

    index = json.loads((features / "index.json").read_text(encoding="utf-8"))
    lines = read_lines(features / "utterances.jsonl")
    contents = Contents(features, index, [line["id"] for line in lines], [line["length"] for line in lines])
    place, names, all_lines, all_places = features.parent / f"mapped-{factor}", [], [], []
    place.mkdir()
    known = find_places(contents)
    for number in range(round(VCTK * factor / 512)):
        old = known[number % len(known)]
        new = replace(old, shard=f"shard-{number:06d}.tar", number=len(all_lines))
        os.link(features / old.shard, place / new.shard)
        names.append(new.shard)
        all_lines += lines[old.number : old.number + len(old.first)]
        all_places.append(new)
    grown = Contents(place, index, [line["id"] for line in all_lines], [line["length"] for line in all_lines])
    write_lines(place / PLACES, ({**vars(each), "crc32": each.crc(grown)} for each in all_places))
    write_lines(place / "utterances.jsonl", all_lines)
    write_json(place / "index.json", {**index, "shards": names})
    return place


def cut(features: Path, batches: int) -> tuple[float, float, float]:
    """(MB, processor's seconds to open the shards, open files) of cutting some batches in this process."""
    import numpy as np

    from revoice.data.read.mapped import MappedField

    start = time.process_time()
    column = MappedField(features).column
    opened, random = time.process_time() - start, np.random.default_rng(0)
    for _ in range(batches):
        chosen = random.integers(len(column.lengths), size=32)
        column.cut(chosen, np.zeros(32, np.int64), np.full(32, 128), 128)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("RssAnon:")[1].split()[0]) / 1024, opened, len(os.listdir("/proc/self/fd"))


def read(address: Path, batches: int) -> tuple[float, float]:
    """(MB, seconds until the first batch) of reading some batches in this process."""
    from itertools import islice

    from revoice.data.read.stream.index import Stream
    from revoice.data.read.stream.module import StreamDataModule
    from revoice.models.base import Requires

    start = time.perf_counter()
    data = StreamDataModule([Stream.open(address)], Requires(), 32, workers=0, rank=0, world_size=1)
    loader = iter(data.batches())
    next(loader)
    first = time.perf_counter() - start
    for _ in islice(loader, batches):
        pass
    return _peak(), first


def manifest(rows: int) -> tuple[float, float]:
    """(MB, seconds) of the rows of a corpus and their splits."""
    from revoice.data.corpora.manifest import Manifest, Row
    from revoice.data.corpora.splits import Splits

    start = time.perf_counter()
    found = (
        Row(
            id=f"p{i % 110}_{i:08d}",
            path=f"p{i % 110}/{i:08d}.flac",
            speaker=f"p{i % 110}",
            sentence=f"s{i % 9000:010d}",
        )
        for i in range(rows)
    )
    Splits().assign(Manifest("rows", Path("/"), ()).with_rows(found))
    return _peak(), time.perf_counter() - start


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(function: Callable[..., T], *arguments: object) -> T:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--rows", type=int, nargs="*", default=[VCTK, 10 * VCTK])
    options = parser.parse_args()
    from revoice.data.read.stream.writer import write_stream

    with tempfile.TemporaryDirectory() as folder:
        prepared = corpus(Path(folder) / "noise", SHARDS * 512)
        for factor in (1, 10, 100):
            size, opened, files = alone(cut, alone(mapped, prepared.folders["features"], factor), options.batches)
            print(
                f"mapped, {factor:>3} x VCTK: {size:>6.0f} MB, opened in {opened:.1f} s of a core, {files} open files",
                flush=True,
            )
        stream = write_stream(prepared)
        for factor in (1, 10, 100):
            size, first = alone(read, grown(stream, factor), options.batches)
            print(f"stream of {factor:>3} x VCTK: {size:>6.0f} MB, first batch after {first:.1f} s", flush=True)
    for rows in options.rows:
        size, seconds = alone(manifest, rows)
        print(f"manifest of {rows:>9,} rows: {size:>6.0f} MB, {seconds:.1f} s to split", flush=True)


if __name__ == "__main__":
    main()
