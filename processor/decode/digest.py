"""What a report was made from, in 16 bytes: its source's bytes, the rules, and the latest schema."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

#: part of every report's digest. Raise it with any change of what the same bytes become (a test tells when): the rows
#: that are there are then compared with their reports by content, once read again
RULES_VERSION = 4


class Digests:
    """Two reports of one trial with the same digest are equal in content; different ones may be equal all the same."""

    def __init__(self, latest_schema: Any) -> None:
        rules = msgspec.json.encode((RULES_VERSION, latest_schema), order="deterministic")
        self._begun = blake2b(digest_size=16, person=blake2b(rules, digest_size=blake2b.PERSON_SIZE).digest())

    def of(self, source: bytes) -> str:
        """32 hexadecimal digits."""
        digest = self._begun.copy()
        digest.update(source)
        return digest.hexdigest()

    def of_part(self, whole: str, index: int) -> str:
        """Of one of a record's many reports: the record's bytes are gone through once for all of them."""
        return self.of(f"{whole}/{index}".encode())
