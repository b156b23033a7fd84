"""One POST over a connection that is kept, by the standard library alone; proxies are those of the environment."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from cerebros_client.transport import shown

#: longer than the gateway waits for Kafka before it says 503
TIMEOUT_S = 60.0
#: of an answer: a verdict has some hundred bytes, a batch some hundred verdicts
_MOST_BYTES = 4 * 1024 * 1024
#: what a connection says whose other side has closed it
_ENDED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: str | None


class UnreachableError(Exception):
    """Nobody answered, or not to the end: whether the request arrived is not known."""


class Poster:
    """For one thread; `interrupt` may be called by others. Certificates are those of the system, or SSL_CERT_FILE."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        """Raises `ValueError` for what is no http(s) URL, and for one with a user, a query or a fragment."""
        parts = _read(url, "the URL")
        if not (parts.path.isascii() and parts.path.isprintable()) or " " in parts.path:
            raise ValueError("the path of the URL holds a letter that must be percent-encoded")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"the URL is {shown(url)!r}: it should look like https://gateway.example.org")
        if parts.username or parts.password:
            raise ValueError("the URL holds a user or a password: pass the gateway's token by itself")
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path, self._timeout_s = parts.path.rstrip("/"), timeout_s
        self._proxy = None if proxy_bypass(parts.netloc) else _proxy_for(parts.scheme)
        self._prefix = f"{parts.scheme}://{parts.netloc}" if self._proxy and not self._secure else ""
        self._connection: http.client.HTTPConnection | None = None
        self._interrupted = False

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Raises `UnreachableError`, also for an answer that is no HTTP or endless.

        A connection that was idle may have been ended by the other side, which is no outage: it is asked once more.
        """
        kept = self._connection is not None
        try:
            try:
                return self._post(path, body, headers)
            except _ENDED:
                self.close()
                if not kept or self._interrupted:
                    raise
            return self._post(path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnreachableError(f"{type(error).__name__}: {error}") from None
        except UnreachableError:
            self.close()
            raise
        except Exception as error:  # noqa: BLE001  http.client says ValueError and others of what is no HTTP
            self.close()
            raise UnreachableError(f"an answer that is no HTTP ({type(error).__name__})") from None

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._connection is None:
            self._connection = self._connected()
        self._connection.request("POST", f"{self._prefix}{self._path}{path}", body, dict(headers))
        response = self._connection.getresponse()
        said = response.read(_MOST_BYTES + 1)
        if len(said) > _MOST_BYTES:
            raise UnreachableError("an answer without end")
        return Answer(response.status, said, response.getheader("Retry-After"))

    def _connected(self) -> http.client.HTTPConnection:
        host, port = self._host, self._port
        if self._proxy:
            host, port = self._proxy
        if not self._secure:
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        made = http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=ssl.create_default_context())
        if self._proxy:
            made.set_tunnel(self._host, self._port or 443)
        return made

    def interrupt(self) -> None:
        """Ends a request that waits."""
        self._interrupted = True
        sock = getattr(self._connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _read(url: str, what: str) -> SplitResult:
    """Raises `ValueError` for a host, an address or a port that is none, without secrets."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        usable = parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{what} is {shown(url)!r}: its host or its port is none") from None
    return parts


def _proxy_for(scheme: str) -> tuple[str, int] | None:
    """What the environment says. Raises `ValueError` where that makes no sense."""
    if not (said := getproxies().get(scheme)):
        return None
    proxy = _read(said if "://" in said else f"http://{said}", f"the proxy of the variable {scheme}_proxy")
    return proxy.hostname or "", proxy.port or 80
