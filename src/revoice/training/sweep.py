"""What the jobs of a sweep found: a table, best first, and a picture; and what they keep."""

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from revoice.atomic import replacing, write_text
from revoice.evaluation.pictures import new_figure, to_png
from revoice.foreign import write_csv

DIRECTIONS = ("minimize", "maximize")
KEEPS = ("weights", "all")
DONE = "done.txt"  # in the folder of a job that came to its end: the digest of its settings
_ASIDE = ("ckpt_path", "show", "logger", "optimized_metric", "optimized_direction")  # settings that train nothing else


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        name: of its folder.
        overrides: the settings it was given, as typed.
        metrics: its `metrics.json`; empty if it failed.
        error: why it failed, one line; None if it did not.
    """

    name: str
    overrides: dict[str, str]
    metrics: dict[str, Any]
    error: str | None = None


def begun(folder: Path) -> dict[str, int]:
    """When the jobs of a sweep folder were begun last, by their names, in the order of their numbers; nanoseconds."""
    found = sorted(folder.glob("*/.hydra/overrides.yaml"), key=lambda p: (len(p.parts[-3]), p.parts[-3]))
    return {path.parts[-3]: path.stat().st_mtime_ns for path in found}


def read_jobs(folder: Path, earlier: Mapping[str, int] | None = None) -> list[Job]:
    """The jobs of a sweep folder, by the numbers of their folders; without those that were not begun since `earlier`.

    A job that failed has no metrics, though an earlier one in its folder may have left some.
    """
    found = []
    for name, when in begun(folder).items():
        if earlier is not None and earlier.get(name) == when:
            continue
        job = folder / name
        path = job / ".hydra" / "overrides.yaml"
        pairs = (str(line).lstrip("+").partition("=") for line in yaml.safe_load(path.read_text(encoding="utf-8")))
        overrides = {key: value for key, _, value in pairs}
        metrics, error = job / "metrics.json", job / "error.txt"
        if metrics.is_file() and not error.is_file():
            found.append(Job(name, overrides, json.loads(metrics.read_text(encoding="utf-8"))))
        else:
            lines = error.read_text(encoding="utf-8").strip().splitlines() if error.is_file() else []
            found.append(Job(name, overrides, {}, lines[-1] if lines else "it did not end"))
    return found


def clear(folder: Path, goes_on: bool) -> None:
    """Take away what an earlier job in this folder was told by, unless this one `goes_on` from its `last.ckpt`."""
    (folder / DONE).unlink(missing_ok=True)
    if not goes_on or not (folder / "checkpoints" / "last.ckpt").is_file():
        (folder / "metrics.json").unlink(missing_ok=True)


def mark_done(folder: Path, config: Mapping[str, Any]) -> None:
    """Note in the folder of a job that it came to its end with these settings."""
    write_text(folder / DONE, _digest(config) + "\n")


def done_before(folder: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The metrics of a job that came to its end in this folder with the same settings; None if none did."""
    done, metrics = folder / DONE, folder / "metrics.json"
    if not done.is_file() or not metrics.is_file() or done.read_text(encoding="utf-8").strip() != _digest(config):
        return None
    found: dict[str, Any] = json.loads(metrics.read_text(encoding="utf-8"))
    return found if found["checkpoint"] is None or Path(found["checkpoint"]).is_file() else None


def _digest(config: Mapping[str, Any]) -> str:
    told = {key: value for key, value in config.items() if key not in _ASIDE}
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def keep_weights(folder: Path) -> None:
    """Leave one checkpoint of a finished run, the best if there is one, and of that the weights alone.

    It converts and may be started from (`init_from`); it cannot be resumed: optimizer states are two thirds of a file.
    """
    import torch

    from revoice.atomic import replacing
    from revoice.checkpoint.description import KEY
    from revoice.checkpoint.load import find_checkpoint, read_checkpoint

    kept = find_checkpoint(folder)
    whole = read_checkpoint(kept)
    data = io.BytesIO()
    torch.save({name: whole[name] for name in (KEY, "state_dict", "global_step") if name in whole}, data)
    with replacing(kept, sync=True) as file:
        file.write(data.getbuffer())
    if kept.name != "last.ckpt":
        (kept.parent / "last.ckpt").unlink(missing_ok=True)


def swept(jobs: Sequence[Job]) -> list[str]:
    """The settings that differ between the jobs; all of them if there is one job."""
    names = list(dict.fromkeys(name for job in jobs for name in job.overrides))
    differing = [name for name in names if len({job.overrides.get(name) for job in jobs}) > 1]
    return differing or names


def best_first(jobs: Sequence[Job], metric: str, direction: str) -> list[Job]:
    """Jobs by their metric; those without it at the end."""
    sign = -1.0 if direction == "maximize" else 1.0

    def place(job: Job) -> tuple[bool, float]:
        value = _score(job, metric)
        return (True, 0.0) if value is None else (False, sign * value)

    return sorted(jobs, key=place)


def write_table(jobs: Sequence[Job], metric: str, path: Path) -> None:
    """A CSV with a row per job: its name, what was swept, the metric, everything else that was measured, the error."""
    settings = swept(jobs)
    others = sorted({name for job in jobs for name in job.metrics} - {metric})
    lines = [["job", *settings, metric, *others, "error"]]
    for job in jobs:
        values = [job.metrics.get(name, "") for name in (metric, *others)]
        lines.append([job.name, *(job.overrides.get(s, "") for s in settings), *values, job.error or ""])
    write_csv(path, lines)


def draw(jobs: Sequence[Job], metric: str, path: Path) -> None:
    """A PNG with a panel per swept setting: every job's metric over the value it was given; none without numbers."""
    shown = [job for job in jobs if _score(job, metric) is not None]
    settings = swept(jobs)
    path.unlink(missing_ok=True)  # of an earlier sweep
    if not shown or not settings:
        return
    width = 1.0 / len(settings)
    figure = new_figure(max(4.0, 3.2 * len(settings)), 3.4, "white")
    panels: list[Any] = []
    for number, name in enumerate(settings):
        axes = figure.add_axes(((number + 0.2) * width, 0.2, 0.75 * width, 0.75), sharey=panels[0] if panels else None)
        panels.append(axes)
        given = [job.overrides.get(name, "") for job in shown]
        numbers = [_number(value) for value in given]
        if all(number is not None for number in numbers):
            places = [float(number) for number in numbers if number is not None]
            if min(places) > 0 and max(places) >= 8 * min(places):
                axes.set_xscale("log")
        else:
            values = sorted(set(given))
            places = [float(values.index(value)) for value in given]
            axes.set_xticks(range(len(values)), values, rotation=20, parse_math=False)
        scores = [job.metrics[metric] for job in shown]
        axes.scatter(places, scores, color="#3b8fd6", alpha=0.7)
        axes.scatter(places[:1], scores[:1], color="#e07a2f", label=f"best: job {shown[0].name}")
        axes.set_xlabel(name)
    panels[0].set_ylabel(metric)
    panels[0].legend()
    with replacing(path) as file:
        file.write(to_png(figure))


def _score(job: Job, metric: str) -> float | None:
    value = job.metrics.get(metric)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
