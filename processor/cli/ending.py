"""How a process ends: what was said is flushed, and nothing is torn down under threads that still run.

librdkafka's threads call back into Python, and use OpenSSL, until their client is freed: one that waits for a broker
when the interpreter and the C library tidy up crashes the process, which then ends by SIGSEGV instead of its code.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TextIO

from processor.cli.streams import settle_streams


def end_with(main: Callable[[], None]) -> NoReturn:
    """Runs `main` and ends the process with the exit code that it asks for, 1 where its output can't be written."""
    settle_streams()
    code = _code_of(main)
    # as the interpreter would: by this, what others have registered still runs
    atexit._run_exitfuncs()
    os._exit(_flushed(code))


def _code_of(main: Callable[[], None]) -> int:
    try:
        main()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException as error:  # noqa: BLE001 - a fault of ours: its traceback is what the interpreter would print
        if not (isinstance(error, OSError) and _failure_of(sys.stdout)):
            sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _flushed(code: int) -> int:
    for stream in (sys.stdout, sys.stderr):
        failure = _failure_of(stream)
        if failure is None:
            continue
        code = code or 1
        if not isinstance(failure, BrokenPipeError):  # `processor ... | head`
            with suppress(OSError):  # stderr may be the one
                os.write(2, f"processor: what was printed can't be written: {failure.strerror}\n".encode())
    return code


def _failure_of(stream: TextIO) -> OSError | None:
    """Why something that was printed there could not be written."""
    try:
        stream.flush()
    except OSError as error:
        return error
    except ValueError:  # closed already
        return None
    return getattr(stream, "failure", None)
