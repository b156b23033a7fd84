"""Parts of a batch: whatever the cut, each outcome is written, and no report says more than its whole record would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processor.core.messages import Batch, RawRecord, Reason, Rejection, Report, TrialReport
from processor.core.parts import Halves
from processor.pipeline.portions import outcomes_of, portion_of

shapes = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), min_size=1, max_size=8)


@given(shapes, st.integers(1, 5))
def test_a_report_never_goes_without_the_rejection_of_the_rest_of_its_record(
    shape: list[tuple[int, int, bool]], most: int
) -> None:
    reports, rejections = [], []
    for offset, (valid, bad, whole) in enumerate(shape):
        one = RawRecord("raw", 0, offset, 0, None, b"")
        reports += [TrialReport(one, place, "r", f"{offset}/{place}", {}, 3) for place in range(valid)]
        places = [*range(valid, valid + bad), *([-1] if whole else [])]
        rejections += [Rejection(one, place, Reason.NOT_JSON, "no") for place in places]
    batch = Batch(reports, rejections, {("raw", 0): len(shape)})
    written: list[Report] = []
    stored: set[tuple[int, int]] = set()
    halves = Halves(outcomes_of(batch))
    for part in halves:
        if len(part) > most and halves.split():
            continue
        portion = portion_of(batch, part)
        written += portion.reports
        stored |= {(one.record.offset, one.index) for one in portion.rejections}
        whole_records = {one.record.offset for one in portion.rejections if one.index < 0}
        assert all(one.record.offset in whole_records for one in portion.reports if shape[one.record.offset][2])
    assert written == reports
    assert stored == {(one.record.offset, one.index) for one in rejections}
