"""A producer as one in C or Go would be: header names of any bytes, which Python's client does not let through."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path

import confluent_kafka

_END, _TOPIC, _PARTITION, _VALUE, _KEY, _MSGFLAGS, _TIMESTAMP, _HEADER = 0, 1, 3, 4, 5, 7, 8, 9  # rd_kafka_vtype_t
_COPY = 2  # RD_KAFKA_MSG_F_COPY


def _library() -> ctypes.CDLL:
    [path] = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*")
    library = ctypes.CDLL(str(path))
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_new.restype = ctypes.c_void_p
    return library


def produce_raw(
    bootstrap_servers: str,
    topic: str,
    value: bytes | None,
    headers: Iterable[tuple[bytes, bytes | None]],
    *,
    key: bytes | None = None,
    partition: int = 0,
    timestamp_ms: int = 0,
) -> None:
    """Sends one record and waits until the broker has it; a header's name ends at its first NUL, as in C."""
    library, error = _library(), ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(library.rd_kafka_conf_new())
    setting = (b"bootstrap.servers", bootstrap_servers.encode(), error, ctypes.c_size_t(512))
    assert library.rd_kafka_conf_set(conf, *setting) == 0, error.value
    client = ctypes.c_void_p(library.rd_kafka_new(0, conf, error, ctypes.c_size_t(512)))
    assert client, error.value
    arguments: list[object] = [_TOPIC, ctypes.c_char_p(topic.encode()), _PARTITION, ctypes.c_int32(partition)]
    arguments += [_VALUE, *_bytes(value), _KEY, *_bytes(key), _MSGFLAGS, ctypes.c_int(_COPY)]
    arguments += [_TIMESTAMP, ctypes.c_int64(timestamp_ms)]
    for name, content in headers:
        arguments += [_HEADER, ctypes.c_char_p(name), *_bytes(content)]
    try:
        assert library.rd_kafka_producev(client, *arguments, _END) == 0
        assert library.rd_kafka_flush(client, 15_000) == 0
    finally:
        library.rd_kafka_destroy(client)


def _bytes(content: bytes | None) -> tuple[ctypes.c_char_p, ctypes.c_ssize_t]:
    return ctypes.c_char_p(content), ctypes.c_ssize_t(len(content or b""))
