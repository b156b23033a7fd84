"""Cerebros' own core, reported: one line before the search is run.

    from cerebros_client import connect
    from cerebros_client.cerebros import report_search

    search = SimpleCerebrosRandomSearch(...)
    with connect() as reporter:
        run_id = report_search(search, reporter, spectral_norm="alternate")
        best = search.run_random_search()

The core is https://github.com/david-thrower/cerebros-core-algorithm-alpha; it is not imported here.
"""

from cerebros_client.cerebros.searching import report_search

__all__ = ["report_search"]
