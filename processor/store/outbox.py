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
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import asyncpg
import msgspec

from processor.core.errors import TransientError
from processor.core.messages import Event, OutboxMessage, Outgoing, Packet
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
#: 'cere' in ASCII: the first key of the advisory lock that makes one relay the active one; the second is its outbox
RELAY_LOCK = int.from_bytes(b"cere", "big")

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
    """Roughly, as it is stored: ids beside an event's value; key and headers of a message come as they came in."""
    if type(message) is Event:
        return len(message.value) + 200
    return len(message.value or b"") + 200 + _bytes_beside(message)


def _bytes_beside(message: Outgoing) -> int:
    headers = message.headers if isinstance(message, OutboxMessage) else ()
    return len(message.key or b"") + sum(len(name) + len(value or b"") for name, value in headers)


class Outbox:
    """What the relay does with Postgres. Use it in one thread only."""

    def __init__(self, store: Session) -> None:
        self._store = store
        self._session = 0
        self._news = asyncio.Event()

    def try_lead(self) -> bool:
        """True when this session may publish; it may until the session ends."""
        [found] = self._store.fetch("try_become_relay", RELAY_LOCK)
        leads = bool(found["leads"])
        if leads:
            self._store.run(lambda connection: self._listen(connection, found["channel"]))
            self._session = self._store.connections
        return leads

    async def _listen(self, connection: asyncpg.Connection, channel: str) -> None:
        await connection.add_listener(channel, lambda *_: self._news.set())

    def _check_lead(self) -> None:
        if self._store.connections != self._session:
            raise TransientError("the session that held the relay's lock is gone")

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
        rows = self._store.fetch("claim_packets", max_messages, max_bytes, MAX_PACKETS_PER_CLAIM)
        self._check_lead()
        return [Packet(row["id"], _decoder.decode(row["payload"]), row["bytes"]) for row in rows]

    def delete(self, packet_ids: Sequence[str]) -> int:
        """Forgets published packets; how many of them were still there."""
        tag = self._store.execute("delete_packets", [uuid.UUID(packet_id) for packet_id in packet_ids])
        return int(tag.rpartition(" ")[2])

    def rewrite(self, packet_id: str, kept: Sequence[Outgoing], parked: Sequence[tuple[Outgoing, str]]) -> None:
        """Takes messages out of a packet and parks them, in one transaction; an empty packet goes."""

        async def work(connection: asyncpg.Connection) -> None:
            queries = load_queries()
            async with connection.transaction():
                rows = [(_encoder.encode(one), one.id, one.destination.value, why) for one, why in parked]
                await connection.executemany(queries["park_message"], rows)
                if kept:
                    await connection.execute(
                        queries["rewrite_packet"],
                        uuid.UUID(packet_id),
                        len(kept),
                        _encoder.encode(list(kept)),
                    )
                else:
                    await connection.execute(queries["delete_packets"], [uuid.UUID(packet_id)])

        self._store.run(work)

    def parked_trials(self) -> set[str]:
        """run_id/trial_id of every trial with a parked event."""
        return {row["name"].rpartition("#")[0] for row in self._store.fetch("parked_events")}

    def parked(self) -> list[dict[str, Any]]:
        """name, destination, error, parked_at of every parked message, oldest first."""
        return self._store.fetch("parked_messages")

    def unpark(self) -> int:
        """Puts all that is parked back into the outbox, in front and in order, in one transaction; how many."""
        return int(self._store.fetch("unpark")[0]["number"])

    def depth(self) -> dict[str, Any]:
        """packets, messages, oldest_age_s, parked."""
        return self._store.fetch("outbox_depth")[0]
