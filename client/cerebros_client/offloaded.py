"""The same calls for an event loop: they wait in a thread of their own, one after the other, never in the loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Self


class Offloaded:
    """`await reporter.report_async(...)`, `async with reporter:`; the order of the calls is that of the reports."""

    _executor: ThreadPoolExecutor | None = None

    async def call_async(self, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Any call of a reporter or a block, in the reporter's own thread: what it raises is raised here."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "cerebros-async")
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(call, *args, **named))

    async def report_async(self, *args: Any, **named: Any) -> None:
        """As `report`. What is passed must not be changed before it returns."""
        await self.call_async(self.report, *args, **named)  # type: ignore[attr-defined]

    async def flush_async(self, timeout_s: float = 60.0) -> None:
        """As `flush`."""
        await self.call_async(self.flush, timeout_s)  # type: ignore[attr-defined]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)  # type: ignore[attr-defined]

    def _close_executor(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            with contextlib.suppress(RuntimeError):  # its own thread: `await reporter.call_async(reporter.close)`
                executor.shutdown(wait=True)

    def _forget_executor(self) -> None:
        """In a child after a fork: the thread is the parent's."""
        self._executor = None
