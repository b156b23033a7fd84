"""What ends a request without an answer of its path."""

from __future__ import annotations

#: seconds after which a caller who was told 503 had best try again: brokers elect a leader within a few
RETRY_SECONDS = 2


class NotTaken(Exception):  # noqa: N818 - an answer, no error of ours
    """The request ends here: with this status, error code and sentence."""

    def __init__(self, status: int, error: str, details: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(details)
        self.status, self.error, self.details = status, error, details
        self.headers = headers or ({"retry-after": str(RETRY_SECONDS)} if status == 503 else {})


class Gone(Exception):  # noqa: N818 - nobody is left to be answered
    """The caller has closed the connection before its request was complete."""
