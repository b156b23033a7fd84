"""What a group remembers of a partition beside its committed offset: the metadata of the commit, as JSON; pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Remembered(NamedTuple):
    """Of which topic the offset is (Kafka's id of it, KIP-516), and which records were gone before they were read.

    `gone` counts them all, `last` are the offsets of the latest such gap. Other tools that move offsets erase it, so
    that "" means unknown, and a gap is forgotten when somebody moves the offsets.
    """

    topic_id: str = ""
    gone: int = 0
    last: str = ""

    @property
    def text(self) -> str:
        """As it is committed, far below the 4096 bytes that Kafka takes by default."""
        return msgspec.json.encode(self._asdict()).decode()

    def with_gap(self, first: int, next_: int) -> Remembered:
        return self._replace(gone=self.gone + next_ - first, last=f"{first}..{next_ - 1}")


class _Text(msgspec.Struct):
    topic_id: str = ""
    gone: int = 0
    last: str = ""


def read_remembered(metadata: str | None) -> Remembered:
    """What `text` was; nothing where somebody else wrote it."""
    try:
        found = msgspec.json.decode(metadata or "{}", type=_Text)
    except (msgspec.MsgspecError, UnicodeError):
        return Remembered()
    return Remembered(found.topic_id[:64], max(0, found.gone), found.last[:64])
