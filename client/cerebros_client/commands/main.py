"""The entry point of `cerebros-client`. Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from cerebros_client import __version__
from cerebros_client.commands import backfill, spool
from cerebros_client.errors import ClientError

#: each adds its command to the parser; what it is to call is the default `run`, which returns the exit code
COMMANDS: tuple[Callable[[Any], None], ...] = (spool.add, backfill.add)
INTERRUPTED = 130  # as shells have it: 128 + SIGINT


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cerebros-client", description="Reports of trials to Kafka or the gateway.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks a character is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    given = make_parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except (ValueError, TypeError) as error:
        print(error, file=sys.stderr)
        return 2
    except (ClientError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
