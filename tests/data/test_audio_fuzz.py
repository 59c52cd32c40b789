"""A thousand damaged recordings: none ends a preparation, hangs it, or leaves half an utterance."""

import importlib.util
import json
import random
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_helpers import write_tone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutants import mutate, recordings
from test_prepare import SPEC

from revoice.audio.io import AudioError, read_audio
from revoice.data.corpora.folder import Folder
from revoice.data.prepare.preparation import Preparation, prepare
from revoice.data.prepare.shards import read_shard
from tests.audio.test_lengths import bare, encoded, m4a, riff, written

BATCHES, FILES = 20, 50  # 1,000 files
MEMORY = 400 << 10  # KiB that reading them may add


def megabytes_at_most() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def check(folder: Path, files: int) -> int:
    """Every file is stored whole or rejected with a reason; returns the number stored."""
    index = json.loads((folder / "index.json").read_text())
    stored = dict(item for shard in sorted(folder.glob("*.tar")) for item in read_shard(shard))
    lines = {k["id"]: k for k in map(json.loads, (folder / "utterances.jsonl").read_text().splitlines())}
    rejected = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert files == index["utterances"] == len(stored) + len(rejected) == len(lines) + len(rejected)
    assert set(stored) == set(lines) and not set(stored) & {line["id"] for line in rejected}
    assert all(line["reason"] and "Traceback" not in line["reason"] for line in rejected)
    for id, array in stored.items():
        assert np.isfinite(array.astype(np.float64)).all() and len(array) == lines[id]["length"]
    return len(stored)


@pytest.mark.timeout(240)  # a hang
def test_a_thousand_mutants_are_prepared(tmp_path: Path) -> None:
    valid = recordings()
    parts = [data for _, data in valid]
    before, kept = megabytes_at_most(), []

    @settings(
        max_examples=BATCHES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.integers(0, 2**32))
    def prepare_mutants(seed: int) -> None:
        draw = random.Random(seed)
        root, out = tmp_path / "corpus", tmp_path / "out"
        shutil.rmtree(root, ignore_errors=True), shutil.rmtree(out, ignore_errors=True)
        write_tone(root / "s" / "whole.wav")
        for number in range(FILES):
            suffix, data = draw.choice(valid)
            name = f"{number}.{suffix if draw.random() < 0.95 else draw.choice(valid)[0]}"
            (root / "s" / name).write_bytes(mutate(data, parts, draw))
        prepared = prepare(Folder(root), SPEC, ["features", "f0"], out, how=Preparation(workers=0), progress=False)
        counts = [check(folder, FILES + 1) for folder in prepared.folders.values()]
        assert len(prepared.manifest) <= min(counts) and len(prepared.manifest) + len(prepared.rejected) == FILES + 1
        assert not list(out.rglob("*.part"))
        kept.append(counts[0] - 1)
        lengths = [len(array) for _, array in read_shard(next(prepared.folders["f0"].glob("*.tar")))]
        features = dict(read_shard(next(prepared.folders["features"].glob("*.tar"))))
        assert {len(features[row.id]) for row in prepared.manifest} <= set(lengths)

    prepare_mutants()
    assert len(kept) >= BATCHES and 0.1 < sum(kept) / (len(kept) * FILES) < 0.9  # neither all broken nor all whole
    assert megabytes_at_most() - before < MEMORY


@settings(max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=400), suffix=st.sampled_from(["wav", "flac", "ogg", "mp3", "aiff"]), head=st.booleans())
def test_noise_is_refused_or_read(tmp_path: Path, data: bytes, suffix: str, head: bool) -> None:
    """Bytes that hypothesis likes, by themselves or behind the head of a valid file."""
    whole = next(content for name, content in recordings() if name == suffix) if head else b""
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(whole[:64] + data)
    try:
        audio = read_audio(path)
    except AudioError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(audio.samples).all() and audio.samples.ndim == 1 and len(audio.samples)


def test_damaged_recordings_are_refused_or_read(tmp_path: Path) -> None:
    """Three hundred damages: `AudioError` in one line, or finite samples no longer than could be in the file."""
    seeds = [(".mp3", bare(encoded("mp3", 16000))), (".wav", riff(encoded("mp3", 16000), 16000))]
    seeds += [(f".{name}", encoded(name, 16000)) for name in ("ogg", "opus")]
    if importlib.util.find_spec("av"):
        seeds.append((".m4a", m4a(tmp_path / "seed.m4a").read_bytes()))
    draw, parts, read = random.Random(0), [data for _, data in seeds], 0
    for _ in range(300):
        suffix, data = draw.choice(seeds)
        try:
            audio = read_audio(written(tmp_path / f"a{suffix}", mutate(data, parts, draw)))
        except AudioError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
        else:
            read += 1
            assert np.isfinite(audio.samples).all() and audio.seconds < 60
    assert 20 < read < 280
