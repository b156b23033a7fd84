"""`python -m benchmarks.decoding`: decoding and validation alone, on one core; processor time, the least of four."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fastavro
from rich.console import Console
from rich.table import Table

from benchmarks import load
from processor.contracts.catalogue import Catalogue
from processor.core.messages import RawRecord, TrialReport
from processor.decode.decoder import SUBJECT, Decoder

RESULT = Path(__file__).parent / "results" / "decoding.json"
REPORTS = 20_000


def microseconds(work: Callable[[Any], Any], items: Sequence[Any]) -> float:
    """Of processor time, for one item."""
    best = float("inf")
    for _ in range(4):
        began = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - began)
    return best / len(items) * 1e6


def records(values: Sequence[bytes]) -> list[RawRecord]:
    return [RawRecord("raw", 0, number, 0, None, value) for number, value in enumerate(values)]


def measure() -> list[tuple[str, float, float, str]]:
    """(what, microseconds a report, ratio, to what)."""
    catalogue = Catalogue.load()
    decode = Decoder(catalogue)
    values = [value for _, value in load.messages(REPORTS)]
    accepted = microseconds(decode, records(values))
    refused = microseconds(decode, records([value.replace(b'"status":"', b'"status":"x') for value in values]))
    broken = microseconds(decode, records([value[:-3] for value in values]))
    extra = microseconds(decode, records([value[:-1] + b',"own":1}' for value in values]))
    reports = [one for record in records(values) for one in decode(record) if isinstance(one, TrialReport)]
    bodies = [catalogue.encode(SUBJECT, one.values) for one in reports]
    framed = [catalogue.single_object(SUBJECT, one.values) for one in reports]
    schema = fastavro.parse_schema(json.loads(json.dumps(dict(catalogue.latest(SUBJECT).definition))))
    oracle = microseconds(lambda body: fastavro.schemaless_reader(io.BytesIO(body), schema), bodies)
    read = microseconds(lambda body: catalogue.read_single_object(SUBJECT, body), framed)
    return [
        ("JSON, accepted", accepted, 1.0, ""),
        ("JSON, accepted, with a field that no schema knows", extra, extra / accepted, "accepted"),
        ("JSON, rejected: unknown status", refused, refused / accepted, "accepted"),
        ("JSON, rejected: breaks off", broken, broken / accepted, "accepted"),
        ("Avro, read by fastavro", oracle, 1.0, ""),
        ("Avro, read by the catalogue", read, read / oracle, "fastavro"),
        ("Avro, read, normalised and validated", microseconds(decode, records(framed)), 0.0, ""),
    ]


def main() -> None:
    rows = measure()
    table = Table("", "us a report", "reports/s", "ratio", title="decoding on one core")
    for what, cost, ratio, base in rows:
        table.add_row(what, f"{cost:.1f}", f"{1e6 / cost:,.0f}", f"{ratio:.2f} x {base}" if base else "")
    Console().print(table)
    RESULT.parent.mkdir(exist_ok=True)
    document = [dict(zip(("what", "us", "ratio", "to"), row, strict=True)) for row in rows]
    RESULT.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
