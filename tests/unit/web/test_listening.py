"""Where a server listens, and what it is called."""

from __future__ import annotations

import socket
from typing import ClassVar

import pytest

from processor.core.errors import SetupError
from processor.web.server import address_of, listen


class Recorded(socket.socket):
    """Remembers which options it was given, and who was closed."""

    given: ClassVar[list[tuple[int, ...]]] = []
    closed = 0

    def setsockopt(self, *option: object) -> None:
        Recorded.given.append(option)  # type: ignore[arg-type]
        super().setsockopt(*option)  # type: ignore[call-overload]

    def close(self) -> None:
        Recorded.closed += 1
        super().close()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> type[Recorded]:
    monkeypatch.setattr(Recorded, "given", [])
    monkeypatch.setattr(Recorded, "closed", 0)
    monkeypatch.setattr("processor.web.server.socket.socket", Recorded)
    return Recorded


@pytest.mark.parametrize("host", ["[::]", "::"])
def test_all_of_ipv6_is_all_of_ipv4_too_whatever_the_system_says(host: str, recorded: type[Recorded]) -> None:
    try:
        opened = listen(f"{host}:0", "GATEWAY_LISTEN")
    except SetupError:
        pytest.skip("this machine has no IPv6")
    with opened:
        assert (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0) in recorded.given
        port = opened.getsockname()[1]
        assert address_of(opened) == f"[::]:{port}"
        with socket.create_connection(("127.0.0.1", port), 10.0):
            pass


def test_an_address_of_ipv4_has_no_brackets() -> None:
    with listen("127.0.0.1:0", "GATEWAY_LISTEN") as opened:
        assert address_of(opened) == f"127.0.0.1:{opened.getsockname()[1]}"


def test_a_port_that_is_taken_is_told_and_leaves_no_socket(recorded: type[Recorded]) -> None:
    with listen("127.0.0.1:0", "GATEWAY_LISTEN") as opened:
        taken = address_of(opened)
        with pytest.raises(SetupError, match=f"GATEWAY_LISTEN {taken} can't be opened"):
            listen(taken, "GATEWAY_LISTEN")
        assert recorded.closed == 1
