"""When two JSON values say the same, by the rules of jsonb: 1 = 1.0 = 1e0, 0.0 = -0.0, and the order of names is none.

A property test holds this and Postgres' own comparison together.
"""

from __future__ import annotations

import json
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from processor.core.messages import TrialReport
from processor.core.numbers import LONG_MAX, LONG_MIN

DIGEST_BYTES = 16
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def digest_of(value: Any) -> bytes:
    """16 bytes that are equal exactly where the values are."""
    return blake2b(msgspec.json.encode(_canonical(value), order="deterministic"), digest_size=DIGEST_BYTES).digest()


def content_digest(report: TrialReport) -> bytes:
    """16 bytes that are equal exactly where Postgres finds the content of two reports of one trial equal."""
    return digest_of([report.content, dict(report.extra or {}), dict(report.envelope or {})])


def _canonical(value: Any) -> Any:
    """Each number as Postgres would compare it: doubles by their shortest decimal form, JSON text digit by digit."""
    kind = type(value)
    if kind is float:
        return _number(Decimal(repr(value))) if value.is_integer() else value
    if kind is Decimal or (kind is int and not LONG_MIN <= value <= LONG_MAX):
        return _number(Decimal(value))
    if kind is msgspec.Raw:
        return _canonical(json.loads(bytes(value), parse_float=Decimal))
    if kind is dict:
        return {name: _canonical(one) for name, one in value.items()}
    if kind is list:
        return [_canonical(one) for one in value]
    return value


def _number(value: Decimal) -> int | float | msgspec.Raw:
    """Whole numbers as integers, the others as doubles where a double says all of it."""
    if value == value.to_integral_value() and -(2**63) <= value < 2**64:
        return int(value)
    double = float(value)
    if Decimal(repr(double)) == value:
        return double
    return msgspec.Raw(str(_EXACT.normalize(value)).encode())
