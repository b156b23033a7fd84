"""Who may do what: tokens, and where there are none, only this machine."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping

from processor.web.refusals import NotTaken
from processor.web.tokens import Keyring

#: a browser asks its user for a name and a password where it is told of Basic first
_BEARER, _BASIC = 'Bearer realm="cerebros"', 'Basic realm="cerebros", charset="UTF-8"'


class Guard:
    """Checks each request before its body is read.

    `keyring`: without one, anybody who reaches the port; `hosts`: then only by these names of it ("" where all do). A
    page in a browser on this machine may send to 127.0.0.1, by a name of its own that resolves to it: its Host tells.
    `basic`: a token may come as a password, which is what a browser asks a person for.
    """

    def __init__(self, keyring: Keyring | None, hosts: frozenset[str] = frozenset(), *, basic: bool = False) -> None:
        self._keyring, self._hosts, self._basic = keyring, hosts, basic

    def check(self, headers: Mapping[str, str], right: str) -> None:
        """Raises `NotTaken`: 401 for no token or one that is not known, 403 for one that may not do this."""
        if self._keyring is None:
            self._check_host(headers.get("host", ""))
            return
        scheme, _, said = headers.get("authorization", "").partition(" ")
        token = self._token(scheme.lower(), said.strip())
        if not token:
            ways = "Bearer TOKEN, or Basic with the token as password" if self._basic else "Bearer TOKEN"
            raise NotTaken(401, "no_token", f"send Authorization: {ways}", headers=self._challenge(""))
        holder = self._keyring.holder(token)
        if holder is None:
            invalid = self._challenge(', error="invalid_token"')
            raise NotTaken(401, "unknown_token", "the token is not known here", headers=invalid)
        if right not in holder.rights:
            raise NotTaken(403, "not_allowed", f"the token of {holder.name} may not do this: it lacks `{right}`")

    def _token(self, scheme: str, said: str) -> str:
        """ "" where there is none. Of Basic the password alone counts: names are for those who read the tokens file."""
        if scheme == "bearer":
            return said
        if scheme != "basic" or not self._basic:
            return ""
        try:
            return base64.b64decode(said, validate=True).decode().partition(":")[2]
        except ValueError:  # no base64, not even ASCII, no UTF-8
            return ""

    def _challenge(self, error: str) -> dict[str, str]:
        return {"www-authenticate": f"{_BASIC}, {_BEARER}{error}" if self._basic else f"{_BEARER}{error}"}

    def _check_host(self, host: str) -> None:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if self._hosts and name.lower() not in self._hosts:
            raise NotTaken(403, "wrong_host", f"without tokens only this machine is answered; Host is {host[:60]}")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def names_of_loopback(host: str) -> frozenset[str]:
    """What a request to this machine itself calls it."""
    return frozenset(("localhost", "127.0.0.1", "[::1]", host.lower()))
