"""`make demo`, from the corpus to the report, on a small part of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from revoice.audio.io import read_audio

SHRUNK = [
    "debug=tiny", "data.splits.limit=null", "data.corpus.max_voices=4", "data.corpus.tested_voices=3",
    "data.corpus.sentences=4", "data.corpus.test_sentences=2", "metrics.groups=unseen", "metrics.voices=3",
    "metrics.workers=1", "metrics.naturalness=false", "max_iterations=100000", "trainer.max_time=00:00:00:02",
]  # fmt: skip


@pytest.mark.slow
def test_the_demo_trains_until_its_time_is_over_converts_and_reports(workplace: Path) -> None:
    command = [sys.executable, "-c", "from revoice.cli.demo import main; main()", *SHRUNK]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "model, unseen voices: pairs 6" in done.stdout and "all of it took" in done.stdout
    folder = workplace / "outputs" / "demo"
    assert (folder / "model.ckpt").is_file() and (folder / "report.html").stat().st_size > 10_000
    for name in ("source", "target", "converted"):
        assert len(read_audio(folder / "example" / f"{name}.wav").samples) > 4000
    found = json.loads((folder / "metrics.json").read_text())
    assert found["training_seconds"] < found["wall_seconds"]
    said = found["unseen"]
    assert 0 <= said["per_copy"] and said["per_converted"] > 0 and said["recognizer"]["circular"] is True
    assert "phone error" in (folder / "report.html").read_text(encoding="utf-8").lower()
    reached = found["iterations"]
    assert 0 < reached < 100000 and f"trained:    {reached} of 100000 iterations" in done.stdout
