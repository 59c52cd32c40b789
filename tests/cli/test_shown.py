"""What a terminal is sent of names from data."""

import errno
import io
import logging
import sys

import pytest

from revoice.cli.app import _Lines
from revoice.errors import encodable, one_line, printable

NASTY = "a\x1b]0;owned\x07\nerror: all lost\x9b2J\u202egnp\udce9.wav"


def test_log_lines_show_words_from_data_and_obey_none(capsys: pytest.CaptureFixture) -> None:
    logger = logging.Logger("any")
    logger.addHandler(_Lines())
    logger.warning("%s: %d of %.1f %s\nsecond line", NASTY, 3, 0.5, ValueError(NASTY))
    logger.warning("without words: 100 %")
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.isprintable() and first.count("\\x1b]0;owned") == 2 and " 3 of 0.5 " in first
    assert (second, third) == ("second line", "without words: 100 %")


@pytest.mark.parametrize("shown", [printable, one_line])
def test_nothing_that_a_terminal_obeys_is_left(shown) -> None:
    assert shown(NASTY).isprintable() and "owned" in shown(NASTY)
    assert shown("日本 é.wav") == "日本 é.wav"


def test_a_text_file_can_hold_every_name() -> None:
    assert encodable(NASTY).encode() and encodable(NASTY).startswith("a\x1b]0;")


def test_a_line_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    record = logging.LogRecord("revoice", logging.INFO, "", 0, "prepared", None, None)
    monkeypatch.setattr(sys, "stdout", Full())
    _Lines().emit(record)
    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(BrokenPipeError):
        _Lines().emit(record)
