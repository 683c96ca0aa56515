"""Progress on a terminal: nothing at first, then what is done and since when, and nothing left."""

from __future__ import annotations

import io
import time
from contextlib import redirect_stderr

import pytest

from seqae import terminal
from seqae.terminal import progress_bar, working


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(terminal, "SECONDS_BEFORE_BAR", 0.02)
    return stream


def test_what_takes_long_is_shown_without_news_of_it(shown: io.StringIO) -> None:
    with redirect_stderr(shown), working("fitting"):
        time.sleep(0.2)
        assert "fitting" in shown.getvalue()
    assert shown.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")  # cursor back, line wiped


def test_what_takes_no_time_is_not_shown(shown: io.StringIO) -> None:
    with redirect_stderr(shown), working("fitting"):
        pass
    assert shown.getvalue() == ""


def test_an_error_gives_the_terminal_back(shown: io.StringIO) -> None:
    def fail() -> None:
        with redirect_stderr(shown), working("fitting"):
            time.sleep(0.1)
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert shown.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")


def test_without_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with working("fitting"), progress_bar("reading", 3) as advance:
        time.sleep(0.05)
        advance(3)
    assert capsys.readouterr().err == ""


def test_a_bar_shows_how_far_it_is(shown: io.StringIO) -> None:
    with redirect_stderr(shown), progress_bar("reading", 4) as advance:
        time.sleep(0.05)
        advance(2)
    assert "reading" in shown.getvalue()


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("", terminal.WIDTH)])
def test_tables_are_as_wide_as_columns_says(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.table_console().width == width
