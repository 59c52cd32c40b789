"""The lines of a progress bar where there is no terminal."""

import pytest

from revoice.data.prepare import progress
from revoice.data.prepare.progress import Progress


def test_a_line_before_anything_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", -1.0)
    monkeypatch.setattr("rich.console.Console.is_terminal", False)
    with Progress("listening", 4, show=True) as bar:
        bar.advance(0, 0.0)
        bar.advance(1, 2.0)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("listening ")]
    assert "listening 0/4" in lines
    assert any(line.startswith("listening 1/4  ") and line.endswith(" left") for line in lines)
