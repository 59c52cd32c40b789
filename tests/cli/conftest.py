"""Commands as a user types them."""

import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture
def command(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command in the shared workplace: (exit status, stdout, stderr)."""
    monkeypatch.chdir(workplace)

    def run(name: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        status = 0
        try:
            importlib.import_module(f"revoice.cli.{name}").main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture(scope="module")
def clip(workplace: Path) -> str:
    return str(next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed/p901/*.flac")))
