"""`cerebros-client spool list` and `spool send`: what a search could not send is looked at, and sent."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from cerebros_client.connecting import checked_url, target_of
from cerebros_client.spool import Listed, listing
from cerebros_client.spooled import Spooled
from cerebros_client.transport import connected


def add(commands: Any) -> None:
    parser = commands.add_parser("spool", help="reports on disk that are not confirmed yet")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    shown = actions.add_parser("list", help="what is there, by file; nothing is changed")
    _folder(shown)
    shown.add_argument("-f", "--format", choices=("table", "json"), default="table")
    shown.set_defaults(run=show)
    sent = actions.add_parser("send", help="send what dead processes left, and wait until it is confirmed")
    _folder(sent)
    sent.add_argument("--url", help="kafka://host:9092 or https://gateway; default CEREBROS_URL")
    sent.add_argument("--all", action="store_true", help="also what was meant for another URL or topic")
    sent.add_argument("--refused", action="store_true", help="also what was refused before")
    sent.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="give up after that; default 600")
    sent.set_defaults(run=send)


def _folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, help="the folder; default CEREBROS_SPOOL")


def _chosen(given: argparse.Namespace) -> Path:
    """Raises `ValueError` where no folder is named, or none is there."""
    folder = given.folder or os.environ.get("CEREBROS_SPOOL")
    if not folder:
        raise ValueError("no folder: name one, or set CEREBROS_SPOOL")
    if not Path(folder).is_dir():
        raise ValueError(f"{folder} is no folder")
    return Path(folder)


def show(given: argparse.Namespace) -> int:
    files = list(listing(_chosen(given)))
    if given.format == "json":
        print(json.dumps([_described(file) for file in files], indent=2))
        return 0
    rows = [("file", "state", "waiting", "refused", "for"), *(_row(file) for file in files)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]))
    return 0


def _described(file: Listed) -> dict[str, Any]:
    waiting, refused = file.counts or (None, None)
    return {
        "file": str(file.path),
        "state": _state(file),
        "waiting": waiting,
        "refused": refused,
        "target": file.target,
    }


def _state(file: Listed) -> str:
    return "damaged" if file.counts is None else "in use" if file.live else "left"


def _row(file: Listed) -> tuple[str, str, str, str, str]:
    waiting, refused = file.counts or ("?", "?")
    return file.path.name, _state(file), str(waiting), str(refused), _printable(file.target)


def _printable(text: str) -> str:
    """The name of a target is whatever is in the file: nothing that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


def send(given: argparse.Namespace) -> int:
    folder = _chosen(given)
    target = target_of(checked_url(given.url or os.environ.get("CEREBROS_URL")))
    spooled = Spooled(target, connected(target), folder, 1, foreign=given.all, again=given.refused)
    began = time.monotonic()
    done = spooled.wait(given.timeout, adopted=True)
    spooled.close(0.0)
    print(f"{spooled.sender.sent} reports sent in {time.monotonic() - began:.1f} s, {spooled.sender.refusals} refused")
    if not done:
        print(f"not all within {given.timeout:g} s; the rest stays in {folder}", file=sys.stderr)
    return 0 if done and not spooled.sender.refusals and not spooled.in_part else 1
