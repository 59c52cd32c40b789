"""The rules that keep the packages apart, read from the imports themselves."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "src" / "revoice"
LAYERS = (
    ("audio",),
    ("nn",),
    ("data",),
    ("models", "critics", "vocoders"),
    ("checkpoint",),
    ("interop",),
    ("conversion",),
    ("evaluation",),
    ("studies",),
    ("training",),
    ("cli",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
FILES = sorted(SOURCE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names of every module a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def layer_of(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "revoice" and parts[1] in RANK else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0]
    for name in imported(path):
        other = layer_of(name)
        if own in RANK and other is not None:
            assert RANK[other] < RANK[own] or other == own, f"{own} must not import {name}"


@pytest.mark.parametrize("path", sorted((SOURCE / "models").rglob("*.py")), ids=lambda p: p.stem)
def test_no_model_imports_another(path: Path) -> None:
    """What two share is in `nn`, or in `models/base.py`."""
    own = path.relative_to(SOURCE / "models").parts[0].removesuffix(".py")
    others = {name.split(".")[2] for name in imported(path) if name.startswith("revoice.models.")}
    assert others <= {own, "base"}


@pytest.mark.parametrize("room", sorted(p for p in (SOURCE / "data").rglob("*") if p.is_dir()), ids=lambda p: p.name)
def test_a_room_of_data_has_ten_files_at_most(room: Path) -> None:
    assert len(list(room.glob("*.py"))) <= 10


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_frameworks_stay_at_home(path: Path) -> None:
    inside = path.relative_to(SOURCE)
    tops = {name.split(".")[0] for name in imported(path)}
    if inside.parts[0] != "cli":
        assert not tops & {"hydra", "omegaconf"}
    if inside.parts[0] != "training" and inside.as_posix() != "data/datamodule.py":
        assert not tops & {"pytorch_lightning", "lightning", "lightning_fabric"}
    if inside.parts[:2] != ("training", "loggers") and inside.as_posix() != "training/run.py":
        assert "wandb" not in tops


def test_an_arrow_that_runs_back_is_found(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from revoice.training.run import train\n")
    assert layer_of("revoice.training.run") == "training" and "revoice.training.run" in imported(file)
    assert RANK["training"] > RANK["audio"]


@pytest.mark.parametrize(("call", "home"), [("csv.writer(", "foreign.py"), ("csv.DictWriter(", "foreign.py")])
def test_tables_are_written_in_one_place(call: str, home: str) -> None:
    """Names from data may be formulas: `foreign.write_csv` knows."""
    users = {path.name for path in FILES if call in path.read_text(encoding="utf-8")}
    assert users <= {home}
