"""The description that MLflow shows on a run's page, as Markdown; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: of a stack trace, whose end says most
TRACE_CHARACTERS = 3000
MAX_WARNINGS = 20


def note(body: Mapping[str, Any]) -> str:
    """Why the trial failed and what to know about it; "" where nothing was said."""
    parts = []
    if body["status"] == "failed":
        parts.append(f"**{_flat(body.get('error_type'))}**: {_flat(body.get('error_message'))}")
    # older reports tell the error as their first warning: it is said above
    warnings = [one for one in body.get("warnings") or () if one != body.get("error_message")]
    if warnings:
        more = f"\n- and {len(warnings) - MAX_WARNINGS} more" if len(warnings) > MAX_WARNINGS else ""
        parts.append("Warnings:\n\n" + "\n".join(f"- {_flat(one)}" for one in warnings[:MAX_WARNINGS]) + more)
    if trace := body.get("stacktrace"):
        # four spaces, not a fence: nothing in it can end the block
        parts.append("\n".join(f"    {line}" for line in str(trace)[-TRACE_CHARACTERS:].splitlines()))
    return "\n\n".join(parts)


def _flat(text: Any) -> str:
    """One line, in which nothing is a link, an image or HTML; of `>` MLflow would show the backslash."""
    line = " ".join(str(text).split())[:500]
    return "".join(f"\\{one}" if one in "\\`*_{}[]<#!" else one for one in line)
