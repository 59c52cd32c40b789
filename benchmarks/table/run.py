"""Train every system of `systems.yaml` on the embedded corpus and evaluate all of them together.

    make benchmark-table                        or:  python benchmarks/table/run.py [--only NAME ...] [--out FOLDER]

A training that is done is not done again, one that was interrupted goes on. Leaves FOLDER/report/report.html,
metrics.csv, table.tex and table.md.
"""

import argparse
import csv
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = Path(__file__).with_name("systems.yaml")
SHOWN = {
    "closer_to_target": "closer to the target", "cosine_target": "cosine to the target",
    "per_converted": "phone errors", "second_cer_converted": "character errors (second)", "mcd_converted": "MCD, dB",
    "f0_correlation": "f0 correlation", "real_time_factor": "real-time factor",
}  # fmt: skip


def train(name: str, overrides: str, plan: dict, out: Path) -> Path:
    """The run folder of a system; what is done is left as it is."""
    folder = out / name
    if not (folder / "metrics.json").is_file():
        begin = time.time()
        command = [*overrides.split(), *plan["data"].split(), *plan["training"].split(), f"hydra.run.dir={folder}"]
        subprocess.run([sys.executable, str(ROOT / "train.py"), *command, "ckpt_path=auto"], cwd=ROOT, check=True)
        print(f"{name}: trained in {time.time() - begin:.0f} s", flush=True)
    return folder


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
    parser.add_argument("more", nargs="*", help="overrides of evaluate.py, e.g. data.root=...", default=[])
    given = parser.parse_args()
    plan, out = yaml.safe_load(SYSTEMS.read_text(encoding="utf-8")), given.out.resolve()
    begin = time.time()
    chosen = {name: line for name, line in plan["systems"].items() if not given.only or name in given.only}
    made: dict[str, str] = {}
    for name, line in chosen.items():  # a line may name the folder of a system above it: {speechsplit_small}
        made[name] = "default" if line is None else str(train(name, line.format(**made), plan, out))
    checkpoints = [folder for name, folder in made.items() if name not in plan["parts"]]
    command = [f"ckpt=[{','.join(checkpoints)}]", *plan["data"].split(), *plan["evaluation"].split()]
    command += [f"out={out / 'report'}", f"evaluation.cache={out / 'cache'}", *given.more]
    subprocess.run([sys.executable, str(ROOT / "evaluate.py"), *command], cwd=ROOT, check=True)
    text = table(out / "report")
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    print(f"all of it took {(time.time() - begin) / 60:.0f} min")


if __name__ == "__main__":
    main()
