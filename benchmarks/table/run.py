"""Train every system of `systems.yaml` on the embedded corpus and evaluate all of them together.

    make benchmark-table        or:  python benchmarks/table/run.py [--only NAME ...] [--out FOLDER] [--together 2]
    python benchmarks/table/run.py --report real data=vctk data.root=FOLDER      the same systems on other voices

As many systems learn at once as there are cores, each on one of them: small networks gain little from a second. A
training that is done is not done again, one that was interrupted goes on. `--train trainer.precision=bf16-mixed` is
twice as fast on a CPU that has such instructions. Leaves FOLDER/REPORT/report.html, metrics.csv, table.tex, table.md.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = Path(__file__).with_name("systems.yaml")
SHOWN = {
    "closer_to_target": "closer to the target", "cosine_target": "cosine to the target",
    "per_converted": "phone errors", "cer_converted": "character errors", "mcd_converted": "MCD, dB",
    "f0_correlation": "f0 correlation", "real_time_factor": "real-time factor",
}  # fmt: skip


def train(name: str, overrides: str, plan: dict, out: Path) -> None:
    """Train a system into its run folder; what is done is left as it is."""
    found = out / name / "metrics.json"
    if found.is_file() and "signal" not in json.loads(found.read_text(encoding="utf-8")).get("stopped", ""):
        return
    begin = time.time()
    out.mkdir(parents=True, exist_ok=True)
    command = [*overrides.split(), *plan["data"].split(), *plan["training"].split(), f"hydra.run.dir={out / name}"]
    print(f"{name}: training, see {out / name}.log", flush=True)
    with (out / f"{name}.log").open("a", encoding="utf-8") as log:
        done = subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *command, "ckpt_path=auto"],
            cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name}: training failed, see {out / name}.log")
    print(f"{name}: trained in {time.time() - begin:.0f} s", flush=True)


def table(report: Path) -> str:
    """Unseen voices as a Markdown table with intervals."""
    with (report / "metrics.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["condition"] == "all" and row["group"] == "unseen"]
    cells = {(row["system"], row["metric"]): row for row in rows}
    names = list(dict.fromkeys(row["system"] for row in rows))
    shown = [key for key in SHOWN if any((name, key) in cells for name in names)]
    lines = ["| system | " + " | ".join(SHOWN[key] for key in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for name in names:
        lines.append(f"| {name} | " + " | ".join(cell(cells.get((name, key))) for key in shown) + " |")
    return "\n".join(lines)


def cell(row: dict | None) -> str:
    if row is None or not row["mean"]:
        return ""
    between = f" ({float(row['low']):.2f} to {float(row['high']):.2f})" if row["low"] else ""
    return f"{float(row['mean']):.2f}{between}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of systems; default: all")
    parser.add_argument("--out", type=Path, default=Path("outputs/table"))
    parser.add_argument("--together", type=int, default=os.cpu_count() or 1, help="trainings at once; default: cores")
    parser.add_argument("--train", nargs="*", default=[], help="more overrides of train.py")
    parser.add_argument("--report", default="report", help="name of the report's folder")
    parser.add_argument("more", nargs="*", help="overrides of evaluate.py, e.g. data.root=...", default=[])
    given = parser.parse_args()
    plan, out = yaml.safe_load(SYSTEMS.read_text(encoding="utf-8")), given.out.resolve()
    plan["training"] = " ".join([plan["training"], *given.train])
    begin = time.time()
    chosen = {name: line for name, line in plan["systems"].items() if not given.only or name in given.only}
    learns = {name: line for name, line in chosen.items() if line is not None}
    with ThreadPoolExecutor(given.together) as pool:
        list(pool.map(lambda name: train(name, learns[name], plan, out), learns))
    checkpoints = [str(out / name) if name in learns else "default" for name in chosen]
    voices = [] if any(each.startswith("data=") for each in given.more) else plan["data"].split()
    command = [f"ckpt=[{','.join(checkpoints)}]", *voices, *plan["evaluation"].split()]
    if not given.only or plan["untrained"] in given.only:
        command.append(f"model={plan['untrained']}")
    command += [f"out={out / given.report}", f"evaluation.cache={out / 'cache'}", *given.more]
    last = {each.partition("=")[0]: each for each in command}  # of one key, what was typed
    subprocess.run([sys.executable, str(ROOT / "evaluate.py"), *last.values()], cwd=ROOT, check=True)
    text = table(out / given.report)
    (out / given.report / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    print(f"all of it took {(time.time() - begin) / 60:.0f} min")


if __name__ == "__main__":
    main()
