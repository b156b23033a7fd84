"""What waits for a locked run is bounded by the one size of its records, each counted once."""

from __future__ import annotations

from processor.core.messages import RawRecord, TrialReport
from processor.pipeline.aside import Aside


def test_headers_and_keys_count_and_a_record_of_many_reports_counts_once() -> None:
    large = RawRecord("raw", 0, 7, 0, b"k" * 500, b"{}", (("name", b"h" * 4000),))
    waiting = [TrialReport(large, index, "run", f"t{index}", {}, 1) for index in range(3)]
    for most, full in ((large.size, True), (large.size + 1, False)):
        aside = Aside(100, most)
        aside.settle({("raw", 0): 8}, waiting)
        assert aside.full is full
