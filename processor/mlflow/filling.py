"""Writing a content into a run: everything in it may be written again and again, and then changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

from processor.core.checkpoints import reach
from processor.mlflow.content import KEY_TAG, Content, Metric
from processor.mlflow.mapping import EVENT_FILE
from processor.mlflow.ports import Link, Run, Tracking

T = TypeVar("T")
#: of one request, as MLflow allows
MOST_PARAMS, MOST_TAGS, MOST_METRICS, MOST_TOGETHER = 100, 100, 1000, 1000
#: of what the trainer's own run says by itself
_LEFT_ALONE = ("mlflow.", "metric.")
Files = Literal["bent", "always", "never"]


class Filler:
    """Fills runs on a tracking server; `files` says when the whole event is put beside them."""

    def __init__(self, tracking: Tracking, files: Files) -> None:
        self._tracking, self._files = tracking, files

    def fill(self, run: Run, content: Content, *, again: bool) -> None:
        """A run of ours, in this order: params and metrics, files, tags (with the revision), status and end.

        So a run that has the tag of a revision has all of it but the status, which is written once more. `again`: it
        was filled before, and ended then: a trial that only gets a rank did not end anew.
        """
        run_id = run.run_id
        parts = list(_parts(list(content.metrics), list(content.params.items()), list(content.tags.items())))
        for number, (metrics, params, tags) in enumerate(parts):
            last = number == len(parts) - 1
            if last:
                self._put_files(run, content)
            self._tracking.log(run_id, metrics, params, tags)
            if not last:
                reach("mlflow.between_batches")
        self._tracking.update_run(run_id, content.status, None if again else content.end_ms)

    def add_to(self, run: Run, content: Content, link: Link) -> list[str]:
        """The trainer's own run: tags, and metrics under keys that it lacks or that we wrote; the keys that are ours.

        Its params, its status, its description and its metrics are its own.
        """
        ours = set(link.held)
        keys = {one.key for one in content.metrics} - (run.metrics.keys() - ours)
        metrics = [one for one in content.metrics if one.key in keys]
        tags = [pair for pair in content.tags.items() if not pair[0].startswith(_LEFT_ALONE)]
        for points, _, pairs in _parts(metrics, [], [*tags, (KEY_TAG, link.key)]):
            self._tracking.log(run.run_id, points, [], pairs)
        return sorted(ours | keys)

    def _put_files(self, run: Run, content: Content) -> None:
        for path, held in content.files.items():
            whole = path == EVENT_FILE
            if self._files == "never" or (whole and self._files == "bent" and not content.bent):
                continue
            self._tracking.put_file(run, path, held)


def _parts(
    metrics: list[Metric], params: list[tuple[str, str]], tags: list[tuple[str, str]]
) -> Iterator[tuple[Sequence[Metric], Sequence[tuple[str, str]], Sequence[tuple[str, str]]]]:
    """What goes into each request: the tags into the last ones, and where all fits there is only one."""
    last = tags[:MOST_TAGS]
    later = [tags[at : at + MOST_TAGS] for at in range(MOST_TAGS, len(tags), MOST_TAGS)]
    while len(params) > MOST_PARAMS or len(metrics) + len(params) + len(last) > MOST_TOGETHER:
        now = params[:MOST_PARAMS]
        points = metrics[: MOST_METRICS - len(now)]
        yield points, now, []
        params, metrics = params[len(now) :], metrics[len(points) :]
    for more in later:
        yield [], [], more
    yield metrics, params, last
