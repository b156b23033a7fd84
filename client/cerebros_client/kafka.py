"""Reports straight to the raw topic: an idempotent producer with acks=all."""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from cerebros_client.forking import is_connected, is_connecting
from cerebros_client.transport import Report, Settled, Target, Trouble

log = logging.getLogger("cerebros_client")

_NAP_S = 0.005  # as long as the producer lingers
#: what a broker will say of the same bytes each time; of a record it also says it where the time is too far ahead
_FINAL = frozenset((KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.RECORD_LIST_TOO_LARGE))

#: a record no older than that may have been refused for its time, by a broker whose clock is behind: it comes later
_CLOCKS_APART_MS = 24 * 3600 * 1000


class KafkaTransport:
    """One producer. A report stays queued until the broker has it, for as long as the process lives."""

    def __init__(self, target: Target) -> None:
        self._topic, self._most_bytes = target.topic, target.queue_max_kib * 1024
        self._properties = {
            "message.timeout.ms": 0,  # no report expires: the outage may last longer than any guess
            "message.max.bytes": 64 * 1024 * 1024,  # how large a report may be is the topic's to say
            "partitioner": "murmur2_random",  # as Java clients have it: a run stays on one partition
            "compression.type": "lz4",
            "linger.ms": 5,
            "client.id": "cerebros-client",
            "log_level": 2,  # librdkafka's own lines on stderr; its errors reach us by error_cb
            **target.options,
            "bootstrap.servers": target.url.removeprefix("kafka://"),
            "enable.idempotence": True,
            "acks": "all",
            "queue.buffering.max.messages": target.queue_max_reports,
            "queue.buffering.max.kbytes": target.queue_max_kib,
            "error_cb": self._note_error,
        }
        self._broken, self.said, self._where = False, "", target.url.removeprefix("kafka://")
        self._serving: set[int] = set()  # threads that hand over confirmations
        self._producer = self._made()
        is_connecting(self)

    def _made(self) -> Producer:
        try:
            return Producer(dict(self._properties))
        except KafkaException as error:
            raise ValueError(f"librdkafka refuses the options: {error.args[0].str()}") from None

    def offer(self, report: Report, settled: Settled) -> bool:
        if self._broken and not self._is_serving:  # it lost its place among sequence numbers, and takes nothing more
            self._end_broken()
        try:
            self._producer.produce(
                self._topic,
                value=report.value,
                key=report.run_id.encode(),
                timestamp=report.timestamp_ms,
                on_delivery=partial(self._delivered, settled, report.timestamp_ms),
            )
        except BufferError:
            if len(report.value) + len(report.run_id.encode()) > self._most_bytes:  # no waiting makes room for it
                settled(Trouble("it is larger than the whole queue (queue_max_kib)", True))
            elif not self._is_serving:
                return False
            else:
                settled(Trouble("the queue is full, and this signal has interrupted what makes room", False))
        except KafkaException as error:
            settled(self._trouble(error.args[0], report.timestamp_ms))
        self._poll(0)  # serves confirmations, which otherwise keep their place in the queue
        return True

    @property
    def _is_serving(self) -> bool:
        """Whether this call comes from a signal's handler that has interrupted this thread in `_poll`.

        confluent_kafka aborts the process where a thread that hands over confirmations asks for more of them.
        """
        return threading.get_ident() in self._serving

    def _poll(self, timeout_s: float) -> int:
        """How many confirmations were handed over."""
        if self._is_serving:
            time.sleep(timeout_s)
            return 0
        thread = threading.get_ident()
        self._serving.add(thread)
        try:
            return self._producer.poll(timeout_s)
        finally:
            self._serving.discard(thread)

    def _end_broken(self) -> None:
        broken, self._producer, self._broken = self._producer, self._made(), False
        broken.purge()
        broken.flush(1)  # what it still held is settled as not taken, and comes back from who keeps it

    def _delivered(
        self, settled: Settled, timestamp_ms: int, error: KafkaError | None, _message: Message | None
    ) -> None:
        if error is None:
            self.said = ""
            is_connected(self)
        settled(None if error is None else self._trouble(error, timestamp_ms))

    def _trouble(self, error: KafkaError, timestamp_ms: int) -> Trouble:
        self._broken = self._broken or error.fatal() or error.code() == KafkaError._FATAL
        is_early = error.code() == KafkaError.INVALID_RECORD and timestamp_ms > time.time() * 1000 - _CLOCKS_APART_MS
        return Trouble(error.str(), error.code() in _FINAL and not is_early)

    def _note_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._TRANSPORT:  # comes with every attempt to connect; the outage is told once
            self.said = f"Kafka at {self._where}: {error.str()}"
            log.warning("%s", self.said)

    def serve(self, timeout_s: float) -> None:
        """In the main thread with naps of Python's own: a client with an error_cb turns Ctrl-C into a SystemError."""
        if threading.current_thread() is not threading.main_thread():
            self._poll(timeout_s)
            return
        deadline = time.monotonic() + timeout_s
        while not self._poll(0) and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(_NAP_S, left))

    def settle(self, timeout_s: float) -> None:
        """Waits until what is queued has arrived: nothing queued needs no connection."""
        deadline = time.monotonic() + timeout_s
        while len(self._producer) and (left := deadline - time.monotonic()) > 0:
            self.serve(left)

    def close(self) -> None:
        is_connected(self)
        self._producer.purge()  # or closing would wait for the broker, without end
        if self._is_serving:
            leak(self._producer)
        else:
            self._producer.close()

    def abandon(self) -> None:
        leak(self._producer)


def leak(held: object) -> None:
    """Makes an object immortal: freeing it would wait for threads, or free locks, that are the parent's."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
