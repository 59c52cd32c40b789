"""How fast batches are read, against how fast an AdaIN-VC step eats them, and how long training waits for data.

    python benchmarks/reading.py [--utterances 4000] [--batch 32] [--steps 8]

The corpus is made of random features (no audio), 3 s an utterance, in shards of 512. The rows "webdataset" read the
same shards by the library's own pipeline, with a buffer of 1,000 utterances to shuffle in. Before them come the bytes
on the disk, and crops of mapped shards beside crops of one array in memory, in turns, by the processor's time.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset

from revoice.audio.presets import load_preset
from revoice.data.corpora.manifest import Manifest, Row
from revoice.data.fields.features import Features
from revoice.data.files import write_json, write_lines
from revoice.data.memory import VoiceDataModule
from revoice.data.prepare.preparation import Prepared
from revoice.data.prepare.shards import ShardWriter
from revoice.data.read.batch import Batch, Requires
from revoice.data.read.mapped import MappedField
from revoice.data.read.stream.index import Stream
from revoice.data.read.stream.module import StreamDataModule
from revoice.data.read.stream.writer import write_stream
from revoice.models.base import MODELS


def corpus(folder: Path, utterances: int, speakers: int = 100) -> Prepared:
    """Prepared features of noise."""
    spec = load_preset("mel_22k")
    field = Features(spec)
    place, generator = folder / field.folder, np.random.default_rng(0)
    rows: list[Row] = []
    names: list[str] = []
    lines: list[dict[str, Any]] = []
    for first in range(0, utterances, 512):
        writer = ShardWriter(place, first // 512, "features")
        for i in range(first, min(first + 512, utterances)):
            split = "val" if i % 50 == 0 else "train"
            rows.append(Row(id=f"u{i:07d}", path="", speaker=f"s{i % speakers:03d}", split=split, seconds=3.0))
            frames = int(generator.integers(180, 330))
            writer.add(
                rows[-1].id, generator.standard_normal((frames, spec.channels), np.float32).astype("f2"), 3.0, 0.0
            )
        writer.close()
        names.append(writer.path.name)
        lines += writer.lines
    write_lines(place / "utterances.jsonl", lines)
    write_lines(place / "rejected.jsonl", [])
    write_json(place / "index.json", {**field.describe(), "trim_db": None, "shards": names, "stored": len(rows)})
    return Prepared(Manifest("noise", folder, tuple(rows)), spec, {"features": place}, ())


def by_webdataset(folder: Path, frames: int, size: int, workers: int) -> Iterator[Batch]:
    """Endless batches of random crops by webdataset's pipeline."""

    def crop(sample: dict[str, Any]) -> tuple[str, torch.Tensor]:
        array = sample["features.npy"]
        start = int(torch.randint(len(array) - frames + 1, ()))
        return sample["__key__"], torch.from_numpy(array[start : start + frames]).T.float()

    def collated(samples: list[tuple[str, torch.Tensor]]) -> Batch:
        ids, crops = zip(*samples, strict=True)
        return Batch(id=ids, features=torch.stack(crops), lengths=torch.full((len(crops),), frames))

    shards = [str(path) for path in sorted(folder.glob("shard-*.tar"))]
    pipeline = webdataset.WebDataset(shards, shardshuffle=len(shards), nodesplitter=None, empty_check=False)
    pipeline = pipeline.shuffle(1000).decode().map(crop).batched(size, collation_fn=collated, partial=False).repeat()
    return iter(webdataset.WebLoader(pipeline, batch_size=None, num_workers=workers))


def crops_per_second(batches: Iterator[Batch], size: int, seconds: float = 6.0) -> float:
    for _ in range(8):
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(batches)
        count += 1
    return count * size / (time.perf_counter() - start)


def mapped_and_copied(prepared: Prepared, requires: Requires, batch: int, rounds: int = 7) -> list[float]:
    """Crops in a second of a core, of the shards as they lie and of one array in memory; the medians of some rounds."""
    sources = [
        VoiceDataModule(prepared, requires, batch, device=where, rank=0, world_size=1) for where in (None, "cpu")
    ]
    readers = [iter(source.batches()) for source in sources]
    found = np.empty((rounds, len(readers)))
    for each in found:
        for place, batches in enumerate(readers):
            next(batches)
            count, start = max(1, 4096 // batch), time.process_time()
            for _ in range(count):
                next(batches)
            each[place] = count * batch / (time.process_time() - start)
    return np.median(found, axis=0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepared = corpus(Path(folder) / "noise", options.utterances)
        numbers = MappedField(prepared.folders["features"]).column.bytes
        disk = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        print(f"{options.utterances} utterances take {disk / 1e6:.1f} MB, {numbers / 1e6:.1f} MB of them numbers")
        model: Any = MODELS.build("adain_vc", {"n_features": prepared.spec.channels}).to(options.device)
        needs = model.requires
        mapped, copied = mapped_and_copied(prepared, needs, options.batch)
        print(f"crops/s of a core, by {options.batch}: {mapped:.0f} of shards as they lie, {copied:.0f} of one array")
        place = {"rank": 0, "world_size": 1}
        memory = VoiceDataModule(prepared, needs, options.batch, **place)
        stream = Stream.open(write_stream(prepared))
        readers: dict[str, Iterator[Batch]] = {"in memory": iter(memory.batches())}
        for workers in (0, 1):
            data = StreamDataModule([stream], needs, options.batch, workers=workers, **place)
            readers[f"streamed, {workers} workers"] = iter(data.batches())
            rows = f"webdataset, {workers} workers"
            readers[rows] = by_webdataset(prepared.folders["features"], needs.frames, options.batch, workers)
        optimizer = torch.optim.Adam(model.parameters(), 1e-4)

        def step(batch: Batch) -> None:
            loss = sum(model.losses(batch.to(options.device)).values(), torch.zeros((), device=options.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if options.device != "cpu":
                torch.cuda.synchronize()

        first = next(readers["in memory"])
        step(first)
        start = time.perf_counter()
        for _ in range(options.steps):
            step(first)
        eaten = options.steps * options.batch / (time.perf_counter() - start)
        parameters = sum(p.numel() for p in model.parameters())
        print(
            f"AdaIN-VC ({parameters / 1e6:.1f} M parameters), {options.batch} crops of {needs.frames} frames, ", end=""
        )
        print(f"{options.device}, {torch.get_num_threads()} threads: {eaten:.0f} crops/s")
        for name, batches in readers.items():
            read = crops_per_second(batches, options.batch)
            waited, began = 0.0, time.perf_counter()
            for _ in range(options.steps):
                asked = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - asked
                step(batch)
            share = waited / (time.perf_counter() - began)
            print(f"{name:<24}{read:>9.0f} crops/s  {read / eaten:>7.1f} x the step   waiting {100 * share:.2f} %")


if __name__ == "__main__":
    main()
