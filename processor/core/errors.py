"""Every exception that crosses a room of the processor.

A report that can never be valid is not an exception but a value (`messages.Rejection`); an exception means
that the world, the set-up or the call is broken::

    ProcessorError
    ├── TransientError    the world is down (broker, database): retry, commit nothing, reject nothing
    ├── FatalError        this process cannot go on: stop, exit code 1, one sentence
    │   ├── SetupError    what the process needs is not there: unmigrated database, missing topic, wrong password
    │   └── SchemaError   a schema file that cannot be read, or a history that is not compatible
    ├── Unpublishable     the broker will never take some messages: set them aside, go on with the rest
    └── UsageError        the user asked for something that makes no sense: exit code 2, one sentence
"""

from __future__ import annotations

from enum import Enum


class ProcessorError(Exception):
    """Base of all; its text is one sentence a person can act on, never holding a secret."""


class Trouble(Enum):
    """What a `TransientError` may come from, and so what may be tried beside waiting."""

    WORLD = "a server is down, full or switching over: wait"
    WORK = "too long, too much memory, a connection lost half-way: what was asked may itself be the cause, ask for less"
    LOCK = "somebody else holds a row: go on with the others"
    REFUSALS = "the database refuses most of what it is given: wait until somebody mends that"


class TransientError(ProcessorError):
    """The world is down: whoever gets this tries again later and commits nothing meanwhile."""

    def __init__(self, text: str, trouble: Trouble = Trouble.WORLD) -> None:
        super().__init__(text)
        self.trouble = trouble


class FatalError(ProcessorError):
    """This process cannot go on; it ends with exit code 1."""


class SetupError(FatalError):
    """Something the process needs is missing or refuses it; a person has to act, waiting would not help."""


class SchemaError(FatalError):
    """A file under schemas/ is wrong; the text names the file and the field."""


class UsageError(ProcessorError):
    """The command line or a setting is wrong; exit code 2."""


class Unpublishable(ProcessorError):  # noqa: N818 - no outage: the messages are set aside and the rest goes on
    """The broker will never take some of these messages; nothing of their transaction can be seen."""
