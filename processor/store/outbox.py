"""The outbox in Postgres: packets of messages that wait for the relay.

A packet is many messages in one row (msgpack): row by row, the outbox cost more than the trials. Packets are read
oldest first and deleted once Kafka has them; no reader remembers a position, so a transaction that commits late, with a
`seq` below what was already read, is simply found late. Two packets with messages of one trial never commit in the
wrong order: the transaction that wrote the second waited for the first one's lock on the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import asyncpg
import msgspec

from processor.core.errors import TransientError
from processor.core.messages import RECORD_OVERHEAD, Event, Identity, OutboxMessage, Outgoing, Packet, size_of
from processor.core.parts import in_parts
from processor.store.queries import load_queries
from processor.store.session import Session

#: a packet's size (unless one message is larger): small beside the relay's memory, large beside a row's overhead, and
#: less than half of what a topic takes by default, so that the relay need not measure each message
PACKET_BYTES = 384 * 1024
#: what one statement hands over at the most (one packet always fits): most batches still need only one
STATEMENT_BYTES = 4 * 1024 * 1024
#: ids that fit, with room to spare, into the 4096 bytes of offset metadata that Kafka keeps by default
MAX_PACKETS_PER_CLAIM = 64
#: parked messages that are put back by one statement: it ends within any DATABASE_TIMEOUT_MS
RESTORED_MESSAGES, RESTORED_BYTES = 1000, 16 * 1024 * 1024
#: 'cere' in ASCII: the first key of the advisory lock that makes one relay the active one; the second is its outbox
RELAY_LOCK = int.from_bytes(b"cere", "big")
#: a relay asks Postgres every second, also while Kafka is away. One that is frozen (SIGSTOP, a suspended machine) keeps
#: its connection open, and with it the lock: the server ends it after twice the time in which /live calls it stuck
LEAD_SESSION = {"idle_session_timeout": "120000"}

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Outgoing])


#: parameters of `insert_outbox`: ids, numbers of messages, payloads
Packets = tuple[list[uuid.UUID], list[int], list[bytes]]


def seal_packets(messages: Iterable[Outgoing]) -> Iterator[Packets]:
    """Packets for one `insert_outbox` after the other, made while they are taken; the messages keep their order."""
    sealed = ((len(packet), _encoder.encode(packet)) for packet in in_parts(messages, _size_of, PACKET_BYTES))
    for part in in_parts(sealed, lambda packet: len(packet[1]), STATEMENT_BYTES):
        yield [uuid.uuid4() for _ in part], [count for count, _ in part], [payload for _, payload in part]


def _size_of(message: Outgoing) -> int:
    """Roughly, as it is stored: ids, or headers and key, beside the value."""
    if type(message) is OutboxMessage:  # a dead letter, with the headers and the key of its record
        return size_of(message.key, message.value, message.headers)
    return len(message.value or b"") + RECORD_OVERHEAD


def _beginning(run_id: str, trial_id: str) -> bytes:
    """What every event of the trial begins with as it is parked, behind the byte that counts its fields."""
    return b"".join(_encoder.encode(part) for part in ("event", run_id, trial_id))


def _uuids(packet_ids: Sequence[str]) -> list[uuid.UUID]:
    return [uuid.UUID(packet_id) for packet_id in packet_ids]


def _rows(tag: str) -> int:
    """Of a command tag such as ``DELETE 3``."""
    return int(tag.rpartition(" ")[2])


def _expect(number: int, tag: str) -> None:
    if _rows(tag) != number:
        raise TransientError(
            f"{number - _rows(tag)} packets of the outbox are gone: another relay, or somebody, took them"
        )


class Outbox:
    """What the relay does with Postgres. Use it in one thread only."""

    def __init__(self, store: Session) -> None:
        self._store = store
        self._session = 0
        self._news = asyncio.Event()

    def try_lead(self) -> bool:
        """True when this session may publish; it may until the session ends."""

        async def work(connection: asyncpg.Connection) -> bool:
            found = await connection.fetchrow(load_queries()["try_become_relay"], RELAY_LOCK)
            if not found["leads"]:
                return False
            if self._session != self._store.connections:  # a session that leads again, after Kafka was away, listens
                await connection.add_listener(found["channel"], lambda *_: self._news.set())
                self._session = self._store.connections
            return True

        return self._store.run(work)

    def _as_leader(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Runs it in the very session that holds the lock: another one might have opened just now, without the lead."""

        async def checked(connection: asyncpg.Connection) -> T:
            if self._store.connections != self._session:
                raise TransientError("the session that held the relay's lock is gone")
            return await work(connection)

        return self._store.run(checked)

    def wait(self, timeout_s: float) -> None:
        """Returns as soon as rows have come since the last `claim`, at the latest after `timeout_s`."""

        async def until_news(_: asyncpg.Connection) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()

        self._store.run(until_news)

    def claim(self, max_messages: int, max_bytes: int) -> list[Packet]:
        """The oldest packets, at least one where there is one; nothing is marked, so asking again gives them again.

        Raises `TransientError` where another relay may lead by now.
        """
        self._news.clear()
        limits = (max_messages, max_bytes, MAX_PACKETS_PER_CLAIM)
        rows = self._as_leader(lambda connection: connection.fetch(load_queries()["claim_packets"], *limits))
        return [Packet(row["id"], _decoder.decode(row["payload"]), row["bytes"]) for row in rows]

    def delete(self, packet_ids: Sequence[str]) -> None:
        """Forgets packets that were just published.

        Raises `TransientError` where another relay leads, or took some of them: who leads next asks Kafka first.
        """

        async def work(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                _expect(len(packet_ids), await connection.execute(load_queries()["delete_packets"], _uuids(packet_ids)))

        self._as_leader(work)

    def identity(self) -> Identity | None:
        """Who published last; None where nobody has."""
        rows = self._store.fetch("relay_identity")
        return Identity(**rows[0]) if rows else None

    def settle(self, published: Sequence[str], identity: Identity) -> int:
        """Forgets what a predecessor had published and writes who publishes now, in one transaction.

        How many of those packets were still there.
        """

        async def work(connection: asyncpg.Connection) -> int:
            async with connection.transaction():
                tag = await connection.execute(load_queries()["delete_packets"], _uuids(published))
                await connection.execute(load_queries()["write_identity"], *identity)
                return _rows(tag)

        return self._as_leader(work)

    def rewrite(self, packet_id: str, kept: Sequence[Outgoing], parked: Sequence[tuple[Outgoing, str]]) -> None:
        """Takes messages out of a packet and parks them, in one transaction; an empty packet goes.

        Raises `TransientError` where another relay leads or the packet is gone; then nothing was parked.
        """

        async def work(connection: asyncpg.Connection) -> None:
            queries, place = load_queries(), uuid.UUID(packet_id)
            async with connection.transaction():
                rows = [(_encoder.encode(one), one.id, one.destination.value, why) for one, why in parked]
                await connection.executemany(queries["park_message"], rows)
                if kept:
                    payload = _encoder.encode(list(kept))
                    tag = await connection.execute(queries["rewrite_packet"], place, len(kept), payload)
                else:
                    tag = await connection.execute(queries["delete_packets"], [place])
                _expect(1, tag)

        self._as_leader(work)

    def first_parked(self, trials: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Of these trials (run_id, trial_id) those with a parked event, and the lowest revision that is parked."""
        events = {_beginning(*trial): Event(*trial, 0, "", 0, b"").subject for trial in trials}
        rows = self._store.fetch("first_parked", list(events.values()), list(events))
        asked = dict(zip(events, trials, strict=True))
        return {asked[row["beginning"]]: row["revision"] for row in rows}

    def restore(self) -> int:
        """Puts parked messages that somebody wants back into the outbox, in front and in order; how many.

        As many as fit one statement, and none while earlier ones are still there.
        """
        limits = (RESTORED_MESSAGES, RESTORED_BYTES)
        rows = self._as_leader(lambda connection: connection.fetch(load_queries()["restore_parked"], *limits))
        return int(rows[0]["number"])

    def parked(self) -> list[dict[str, Any]]:
        """name, destination, error, parked_at, wanted_at of every parked message, oldest first."""
        return self._store.fetch("parked_messages")

    def want_parked(self) -> int:
        """Says that all that is parked shall be published; the leading relay puts it back. How many messages."""
        return int(self._store.fetch("want_parked")[0]["number"])

    def depth(self) -> dict[str, Any]:
        """packets, messages, oldest_age_s, parked."""
        return self._store.fetch("outbox_depth")[0]
