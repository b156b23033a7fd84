"""Who may come in: a file of hashed tokens, read again when it changes."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from processor.core.errors import SetupError, UsageError

log = structlog.get_logger(__name__)

REPORT, READ, METRICS = "report", "read", "metrics"
#: how often the file is looked at
LOOK_SECONDS = 1.0
MAX_FILE_BYTES, MAX_TOKEN_CHARACTERS, LEAST_CHARACTERS = 1024 * 1024, 1000, 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_TOO_LARGE = f"has more than {MAX_FILE_BYTES} bytes"
_HASH = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)


class Door(NamedTuple):
    """Whose file it is: the setting that names it, the command that makes its lines, and what they may allow.

    A line that names no right allows all of these.
    """

    setting: str
    command: str
    rights: frozenset[str]


GATEWAY = Door("GATEWAY_TOKENS_FILE", "processor gateway-token", frozenset((REPORT, METRICS)))
DASHBOARD = Door("DASHBOARD_TOKENS_FILE", "processor dashboard-token", frozenset((READ, METRICS)))


#: inode, bytes, time of the last change
_Mark = tuple[int, int, int]


class Holder(NamedTuple):
    """Whose token it is, and what it may do."""

    name: str
    rights: frozenset[str]


def make_token() -> str:
    """256 random bits: nobody tries them out, so a fast hash is enough, and one request costs a microsecond."""
    return f"crb_{secrets.token_urlsafe(32)}"


def line_for(name: str, token: str, rights: frozenset[str] = frozenset()) -> str:
    """The file's line; no rights named: all that its door has.

    Raises `UsageError` for a name that could not be read again, or a token that may be guessed.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name: 1 to 64 of a-z A-Z 0-9 . _ @ -, the first a letter or a digit")
    if not LEAST_CHARACTERS <= len(token) <= MAX_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable():
        raise UsageError(f"a token has {LEAST_CHARACTERS} to {MAX_TOKEN_CHARACTERS} printable characters of ASCII")
    return " ".join([name, f"sha256:{_hash(token)}", *sorted(rights)])


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def read_tokens(path: Path, door: Door) -> Mapping[str, Holder]:
    """Hash -> holder. Raises `SetupError` that names the line, never what stands on it.

    One token has one line: of two that differ, nobody could tell which one counts.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        text = content.decode("utf-8-sig")  # some editors put a byte order mark before it
    except OSError as error:
        raise SetupError(f"{door.setting} {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        cause = "is not UTF-8" if len(content) <= MAX_FILE_BYTES else _TOO_LARGE
        raise SetupError(f"{door.setting} {path} {cause}") from None
    if len(content) > MAX_FILE_BYTES:
        raise SetupError(f"{door.setting} {path} {_TOO_LARGE}")
    holders: dict[str, Holder] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if words:
            where = f"{door.setting} {path}, line {number}"
            hashed, holder = _read_line(words, door, where)
            if holders.setdefault(hashed, holder) != holder:
                raise SetupError(f"{where}: the same token stands on a line before, with another name or other rights")
    return holders


def _read_line(words: list[str], door: Door, where: str) -> tuple[str, Holder]:
    match = _HASH.fullmatch(words[1]) if len(words) > 1 else None
    rights = frozenset(words[2:]) or door.rights
    if match is None or not _NAME.fullmatch(words[0]) or not rights <= door.rights:
        allowed = " ".join(f"[{right}]" for right in sorted(door.rights, reverse=True))
        raise SetupError(f"{where}: must be NAME sha256:HASH {allowed}, as `{door.command}` makes it")
    return match[1], Holder(words[0], rights)


class Keyring:
    """The holders of the file as it is now: two tokens of one name are how one is rotated."""

    def __init__(self, path: Path, door: Door) -> None:
        """Raises `SetupError` for a file that is wrong, or in which there is nobody."""
        self._path, self._door = path, door
        self._mark: _Mark | None = self._look()
        self._complaint = ""
        self._holders = read_tokens(path, door)
        self._looked_at = time.monotonic()
        if not self._holders:
            raise SetupError(f"{door.setting} {path} holds no token: make one with `{door.command} NAME`")

    def holder(self, token: str) -> Holder | None:
        """Whose it is. Looking a hash up tells no timing that helps to guess a token."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            return None
        self._follow()
        return self._holders.get(_hash(token))

    def _follow(self) -> None:
        """A file that can't be read changes nothing, and is told, once; one that holds nobody lets nobody in.

        It is read again until it can be: what hides it for a moment (its rights, a process without a free file) leaves
        no mark on it when it ends, and a token that was taken away would be good for ever.
        """
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        mark = self._look()
        if mark == self._mark:
            return
        try:
            self._holders = read_tokens(self._path, self._door)
        except SetupError as error:
            self._mark = None
            if self._complaint != str(error):
                self._complaint = str(error)
                log.error("tokens_unreadable", cause=self._complaint)
        else:
            self._mark, self._complaint = mark, ""
            log.info("tokens_read", names=sorted({one.name for one in self._holders.values()}))

    def _look(self) -> _Mark:
        try:
            found = self._path.stat()
        except OSError:
            return 0, 0, 0
        return found.st_ino, found.st_size, found.st_mtime_ns
