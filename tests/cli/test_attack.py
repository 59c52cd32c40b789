"""Commands that are given what strangers made: each ends well or in one line, in time, inside its folders.

An attack is a function that leaves files in a folder and returns the command; `OUTCOME` says how it must end. Beside
what each part tests by itself, this goes the whole way from a command line.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from revoice.errors import UserError
from tests.conversion.test_two_readers import BOMBS
from tests.conversion.untrusted_helpers import command
from tests.data.corpora.test_odd_tables import NAMES, table
from tests.hostile import write_hostile, write_ordinary, write_usable

pytestmark = pytest.mark.timeout(120)  # a hang
TINY = ["debug=tiny", "logger=none", "trainer=cpu", "model=adain_vc_small", "max_iterations=2", "trainer.val_every=2"]


def names(inside: Path) -> list[str]:
    source = table(inside / "in", [name for name in NAMES if name.strip()][:9])
    return ["prepare", "data=folder", f"data.root={source}"]


def trained_names(inside: Path) -> list[str]:
    source = table(inside / "in", [name for name in NAMES if name.strip()][:4])
    samples = ["++callbacks.samples.count=3", "++callbacks.samples.recognizer=null"]
    return ["train", *TINY, *samples, "data=folder", f"data.root={source}"]


def everything(inside: Path) -> list[str]:
    write_ordinary(inside / "in")
    write_hostile(inside / "in" / "odd")
    write_usable(inside / "in" / "s0")
    (inside / "in" / "s1" / "noise.m4a").write_bytes(np.random.default_rng(0).bytes(3000))
    (inside / "in" / "s1" / "\x1b[2J\n.xyz").write_bytes(b"x")
    return ["prepare", "data=folder", f"data.root={inside / 'in'}"]


def endless(inside: Path) -> list[str]:
    source = table(inside / "in", ["ann"])
    with source.open("a") as file:
        file.writelines(f"{path},ann,train\n" for path in ("/proc/kmsg", "/dev/zero", "/dev/random", "/proc/self/mem"))
    return ["prepare", "data=folder", f"data.root={source}"]


def no_table(inside: Path) -> list[str]:
    (inside / "in").mkdir()
    (inside / "in" / "t.csv").write_bytes(b"\xff\xfep\0a\0t\0h\0;\0" + os.urandom(500))
    return ["prepare", "data=folder", f"data.root={inside / 'in' / 't.csv'}"]


def pipe_for_a_table(inside: Path) -> list[str]:
    (inside / "in").mkdir()
    os.mkfifo(inside / "in" / "t.csv")
    return ["prepare", "data=folder", f"data.root={inside / 'in' / 't.csv'}"]


def stream(change: Callable[[dict], object]) -> Callable[[Path], list[str]]:
    """Training from a stream whose index was changed."""

    def attack(inside: Path) -> list[str]:
        source = table(inside / "corpus", ["ann", "bob", "cem"])
        command(
            "prepare",
            "data=folder",
            f"data.root={source}",
            "data.stream=true",
            "fields=[features,f0]",
            *_places(inside),
        )
        place = next((inside / "data").glob("prepared/folder/*/stream-*"))
        values = json.loads((place / "index.json").read_text())
        change(values)
        (place / "index.json").write_text(json.dumps(values))
        shutil.rmtree(inside / "corpus")
        return [
            "train",
            *TINY,
            "data=folder",
            "data.stream=true",
            f"data.streaming.address={place}",
            "data.device=null",
        ]

    return attack


def bomb(name: str) -> Callable[[Path], list[str]]:
    """An import whose settings are a bomb."""

    def attack(inside: Path) -> list[str]:
        (inside / "in").mkdir()
        torch.save({"a": torch.zeros(1)}, inside / "in" / "m.ckpt")
        (inside / "in" / "config.yaml").write_text(BOMBS[name])
        return ["import_checkpoint", "kind=adain_vc", f"path={inside / 'in' / 'm.ckpt'}", f"out={inside / 'o.ckpt'}"]

    return attack


ATTACKS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "names": (names, "done"),
    "names, trained": (trained_names, "done"),
    "everything": (everything, "done"),
    "endless files": (endless, "done"),
    "no table": (no_table, "one line"),
    "a pipe for a table": (pipe_for_a_table, "one line"),
    "a stream as it was": (stream(lambda v: None), "done"),
    "counts of -1": (stream(lambda v: v.update(shards=[[name, -1] for name, _ in v["shards"]])), "one line"),
    "speakers of null": (stream(lambda v: v["speakers"].__setitem__(0, None)), "one line"),
    "speakers of numbers": (stream(lambda v: v.update(speakers=[1, 2, 3])), "one line"),
    "std of nought": (stream(lambda v: v["statistics"].update(std=[0.0] * len(v["statistics"]["std"]))), "one line"),
    "std of -1": (stream(lambda v: v["statistics"].update(std=[-1.0] * len(v["statistics"]["std"]))), "one line"),
    "short mean": (stream(lambda v: v["statistics"].update(mean=[0.0])), "one line"),
    "levels of nan": (stream(lambda v: v.update(levels=[float("nan")] * 3)), "one line"),
    **{f"bomb: {name}": (bomb(name), "one line") for name in ("merges", "list lines", "brackets", "itself")},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_ends_well_or_in_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "a" / "b" / "c" / "d"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    attack, outcome = ATTACKS[name]
    program, *arguments = attack(inside)
    before = contents(inside / "in")
    try:
        command(program, *arguments, *([] if program == "import_checkpoint" else _places(inside)))
    except UserError as error:
        assert outcome == "one line" and str(error).isprintable(), error
    else:
        assert outcome == "done"
    assert contents(inside / "in") == before, "an input was changed"
    assert all(list(folder.iterdir()) == [folder / name] for folder, name in zip(inside.parents, "dcba", strict=False))
    assert {path.name for path in inside.iterdir()} <= {"in", "data", "outputs", "run"}
    for folder in (path.parent for path in inside.glob("data/prepared/*/*/*/index.json")):
        if (folder / "utterances.jsonl").is_file():
            counts = json.loads((folder / "index.json").read_text())
            assert counts["utterances"] == counts["stored"] + counts["rejected"]


def _places(inside: Path) -> list[str]:
    return [f"paths.data_dir={inside / 'data'}", f"hydra.run.dir={inside / 'run'}", "data.prepare.workers=0"]


def contents(folder: Path) -> dict[str, str]:
    """Hash of every regular file."""
    return {
        os.path.join(place, name): hashlib.sha256(Path(place, name).read_bytes()).hexdigest()
        for place, _, files in os.walk(folder)
        for name in files
        if os.path.isfile(os.path.join(place, name)) and not os.path.islink(os.path.join(place, name))
    }
