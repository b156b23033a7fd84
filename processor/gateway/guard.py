"""Who may do what: tokens, and where there are none, only this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from processor.gateway.tokens import Keyring
from processor.gateway.values import NotTaken

_CHALLENGE = {"www-authenticate": 'Bearer realm="cerebros"'}


class Guard:
    """Checks each request before its body is read.

    `keyring`: without one, anybody who reaches the port; `hosts`: then only by these names of it ("" where all do). A
    page in a browser on this machine may send to 127.0.0.1, by a name of its own that resolves to it: its Host tells.
    """

    def __init__(self, keyring: Keyring | None, hosts: frozenset[str] = frozenset()) -> None:
        self._keyring, self._hosts = keyring, hosts

    def check(self, headers: Mapping[str, str], right: str) -> None:
        """Raises `NotTaken`: 401 for no token or one that is not known, 403 for one that may not do this."""
        if self._keyring is None:
            self._check_host(headers.get("host", ""))
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotTaken(401, "no_token", "send Authorization: Bearer TOKEN", headers=_CHALLENGE)
        holder = self._keyring.holder(token.strip())
        if holder is None:
            challenge = {"www-authenticate": f'{_CHALLENGE["www-authenticate"]}, error="invalid_token"'}
            raise NotTaken(401, "unknown_token", "the token is not known here", headers=challenge)
        if right not in holder.rights:
            raise NotTaken(403, "not_allowed", f"the token of {holder.name} may not do this: it lacks `{right}`")

    def _check_host(self, host: str) -> None:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if self._hosts and name.lower() not in self._hosts:
            raise NotTaken(403, "wrong_host", f"without tokens only this machine may report; Host is {host[:60]}")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def names_of_loopback(host: str) -> frozenset[str]:
    """What a request to this machine itself calls it."""
    return frozenset(("localhost", "127.0.0.1", "[::1]", host.lower()))
