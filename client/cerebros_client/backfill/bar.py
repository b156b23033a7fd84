"""Progress on stderr: a line that is written over on a terminal, a new line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TextIO

_WIDTH = 30
_TERMINAL_S, _FILE_S = 0.2, 10.0


class Bar:
    """`total` None: a count alone."""

    def __init__(self, stream: TextIO, total: int | None, what: str) -> None:
        self._stream, self._total, self._what = stream, total, what
        self._terminal = stream.isatty()
        self._began = self._shown = time.monotonic()
        self._done = 0

    def advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._shown >= (_TERMINAL_S if self._terminal else _FILE_S):
            self._shown = now
            self._show()

    def end(self) -> None:
        if self._terminal or self._done:
            self._show()
        if self._terminal:
            self._stream.write("\n")

    def _show(self) -> None:
        rate = self._done / max(time.monotonic() - self._began, 0.001)
        line = f"{self._what}: {self._done:,}"
        if self._total:
            share = min(1.0, self._done / self._total)
            filled = round(share * _WIDTH)
            line = f"{self._what} [{'#' * filled}{'.' * (_WIDTH - filled)}] {self._done:,} of {self._total:,}"
        text = f"{line}, {rate:,.0f}/s"
        self._stream.write(f"\r{text}\033[K" if self._terminal else f"{text}\n")
        self._stream.flush()
