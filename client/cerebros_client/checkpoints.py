"""Named points of a report's way, where tests stop a real process and kill it.

In somebody's search `reach` costs one comparison. With ``CEREBROS_TEST_HALT_AT=name[#n]`` the process says on
stdout that it got there (for the n-th time) and waits to be killed.
"""

from __future__ import annotations

import os
import sys
import time

_target, _, _nth = os.environ.get("CEREBROS_TEST_HALT_AT", "").partition("#")
_remaining = int(_nth or 1)


def reach(name: str) -> None:
    global _remaining
    if name != _target:
        return
    _remaining -= 1
    if _remaining == 0:
        sys.stdout.write(f"HALTED {name}\n")
        sys.stdout.flush()
        while True:
            time.sleep(60)
