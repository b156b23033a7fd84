"""What a command is started with: its standard streams are there, and every character has a form on them.

A terminal of another language, a pipe read by an old program, a service started without a stdout: none of them is a
reason for a command to fail half-way through what it prints.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: (descriptor, name in `sys`, how /dev/null stands in for it). What is printed to a stdout that is closed can't be
#: written, and is told as such; log lines go nowhere
_STREAMS = ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY))
_ESCAPED = "processor.escaped"


def settle_streams() -> None:
    """Opens what is closed, so that no connection becomes descriptor 1 or 2 and is sent what is printed there; and has
    characters that a stream's encoding lacks written as JSON's escapes, which leave JSON the same document.
    """
    codecs.register_error(_ESCAPED, _escape)
    for descriptor, name, flags in _STREAMS:
        if not _is_open(descriptor):
            os.set_inheritable(os.open(os.devnull, flags), True)  # the lowest that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors=_ESCAPED)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = Output(sys.stdout)


class Output(io.TextIOWrapper):
    """stdout, which remembers as its `failure` why something could not be written."""

    def __init__(self, of: io.TextIOWrapper) -> None:
        encoding, by_line, at_once = of.encoding, of.line_buffering, of.write_through
        super().__init__(of.detach(), encoding, _ESCAPED, line_buffering=by_line, write_through=at_once)
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        with self._remembering():
            return super().write(text)

    def flush(self) -> None:
        with self._remembering():
            super().flush()

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error
            raise


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
