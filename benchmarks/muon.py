"""The small AdaIN-VC trained by Muon and by AdamW on the same part of the embedded corpus: loss and time.

python benchmarks/muon.py [iterations]

Both get as many iterations and the same schedule; Muon the preset's rate, AdamW 3e-3 (twice that did about as well).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

COMMON = [
    "model=adain_vc_small", "data=synthetic", "data.corpus.per_voice=3", "data.corpus.test_sentences=2",
    "data.corpus.tested_voices=0", "logger=none", "trainer=cpu", "callbacks.samples=null", "callbacks.speaker_map=null",
]  # fmt: skip


def train(folder: Path, name: str, iterations: int, settings: list[str]) -> dict[str, float]:
    """The run's metrics."""
    run = folder / name
    command = [sys.executable, "-c", "from revoice.cli.train import main; main()", *COMMON, *settings]
    command += [f"paths.data_dir={folder / 'data'}", f"hydra.run.dir={run}"]
    command += [f"max_iterations={iterations}", f"trainer.val_every={iterations}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((run / "metrics.json").read_text())


def main() -> None:
    """Print loss and seconds of both, and the ratios."""
    iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 250
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        train(here, "prepare", 1, [])  # speaks and prepares: not part of either time
        muon = train(here, "muon", iterations, [])
        adamw = train(here, "adamw", iterations, ["optimizer=adamw", "optimizer.lr=3e-3"])
    for name, result in (("Muon", muon), ("AdamW", adamw)):
        print(f"{name:5s} {iterations} iterations: validation loss {result['val/loss']:.3f}, {result['seconds']:.0f} s")
    print(f"seconds, AdamW / Muon: {adamw['seconds'] / muon['seconds']:.2f}x")
    print(f"loss, AdamW / Muon:    {adamw['val/loss'] / muon['val/loss']:.3f}")


if __name__ == "__main__":
    main()
