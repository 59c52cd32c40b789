"""The commands of the README and of docs/, read from the pages: each composes as it stands."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import ROOT


def commands(page: Path) -> set[str]:
    """Indented lines that begin with a program, without comments; a backslash at the end or an open quote goes on."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    return {
        line.strip() for line in re.findall(r"^ +((?:python|revoice-|make)\b(?:'[^']*'|[^#\n'])*)", text, re.MULTILINE)
    }


COMMANDS = sorted(commands(ROOT / "README.md"))
SCRIPTS = ("train", "convert", "prepare", "evaluate", "import_checkpoint")
OF_SCRIPTS = tuple(f"python {name}.py" for name in SCRIPTS)
# what the reader is to fill in is no setting yet; sweeps run in programs of their own
OPEN = re.compile(r"[$]|\b[A-Z]+=|SETTINGS|\.\.\.$| -m |hydra/|hparams_search")
OF_PAGES = sorted({line for page in (ROOT / "docs").glob("*.md") for line in commands(page)}.difference(COMMANDS))


def test_they_are_found() -> None:
    assert len(COMMANDS) > 25 and sum(line.startswith("python train.py") for line in COMMANDS) > 8


@pytest.mark.parametrize(
    "line",
    [
        *(line for line in COMMANDS if not line.startswith("make")),
        *(line for line in OF_PAGES if line.startswith((*OF_SCRIPTS, "revoice-")) and not OPEN.search(line)),
    ],
)
def test_it_composes_as_it_stands(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line)
    if words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2])
        return
    program, arguments = (words[1], words[2:]) if words[0] == "python" else (words[0], words[1:])
    assert words[0] != "python" or (ROOT / program).is_file()
    name = program.removesuffix(".py").removeprefix("revoice-").replace("-", "_")
    module = importlib.import_module(f"revoice.cli.{name}")
    seen: list[dict] = []

    def task(values: dict, folder: Path) -> SimpleNamespace:
        seen.append(values)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text('{"best/val/loss": 1.0, "val/reconstruction": 1.0}')
        return SimpleNamespace(objective=1.0)

    few = ["hydra.sweeper.n_trials=2"] if "hparams_search=vqvae_optuna" in arguments else []
    monkeypatch.setattr(module, "task", task)
    monkeypatch.setattr(sys, "argv", [program, *arguments, *few])
    monkeypatch.chdir(tmp_path)
    module.main()
    assert seen or "--help" in arguments


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make")])
def test_it_is_a_target(line: str) -> None:
    done = subprocess.run([*shlex.split(line), "-n"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for Python")
@pytest.mark.parametrize("name", SCRIPTS)
def test_any_python_will_do_where_there_is_an_environment(name: str, tmp_path: Path) -> None:
    for file in ("_environment.py", f"{name}.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    command = [sys.executable, "-S", "-E", str(tmp_path / f"{name}.py"), "a=1", "b c"]  # a Python without packages
    bare = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert bare.returncode == 2 and bare.stderr.count("\n") == 1 and "make setup" in bare.stderr
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s|" "$REVOICE_ENTERED" "$@"\nexit 7\n')
    python.chmod(0o755)
    entered = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert entered.returncode == 7 and entered.stdout == f"1|{tmp_path / name}.py|a=1|b c|"
