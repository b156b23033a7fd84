"""A small search with Cerebros' own core, reported: python search.py PATH/TO/cerebros-core-algorithm-alpha

The core is on no package index. Take a checkout of https://github.com/david-thrower/cerebros-core-algorithm-alpha and
an environment of its own: pip install tensorflow-cpu jax pandas pyvis tqdm cerebros-client. Where reports go is
CEREBROS_URL (kafka://localhost:9092) or --url. The core writes a project's folder where it is run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SPECTRAL_NORM = {"leave": None, "none": False, "all": True, "alternate": "alternate"}


def main() -> None:
    arguments = read_arguments()
    sys.path.insert(0, str(arguments.checkout.resolve()))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if not arguments.keep:
        os.chdir(tempfile.mkdtemp(prefix="example-search-"))
    began = time.monotonic()
    search = make_search(arguments)
    print(f"imports: {time.monotonic() - began:.1f} s; the project is in {Path.cwd()}", flush=True)
    if arguments.unreported:
        print_time(search, arguments)
        return
    from cerebros_client import connect
    from cerebros_client.cerebros import report_search

    with connect(arguments.url) as reporter:
        run_id = report_search(search, reporter, spectral_norm=SPECTRAL_NORM[arguments.spectral_norm])
        print_time(search, arguments)
    print(f"run {run_id}")


def print_time(search: Any, arguments: argparse.Namespace) -> None:
    began = time.monotonic()
    with quiet(arguments.verbose):
        best = search.run_random_search()
    print(f"search: {time.monotonic() - began:.2f} s; best {search.metric_to_rank_by} {best:.4f}")


@contextlib.contextmanager
def quiet(verbose: bool) -> Any:
    """The core prints each step of each network."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(sys.stdout if verbose else nowhere):
        yield


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkout", type=Path, help="the folder that holds `cerebros`")
    parser.add_argument("--url", help="kafka://host:9092 or the gateway's https://host; else CEREBROS_URL")
    parser.add_argument("--architectures", type=int, default=4, help="architectures to try")
    parser.add_argument("--tries", type=int, default=1, help="sub-trials of each")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--spectral-norm", choices=SPECTRAL_NORM, default="alternate")
    parser.add_argument("--learning-rate", type=float, default=0.005, help="1e30 makes every loss NaN")
    parser.add_argument("--unreported", action="store_true", help="the search alone, to compare its time")
    parser.add_argument("--keep", action="store_true", help="write the project's folder here, not below /tmp")
    parser.add_argument("--verbose", action="store_true", help="with all that the core prints")
    return parser.parse_args()


def make_search(arguments: argparse.Namespace) -> Any:
    """256 random rows of 8 columns; the target is a mixture of them, so that there is something to learn."""
    import numpy as np
    import tensorflow as tf
    from cerebros.simplecerebrosrandomsearch.simple_cerebros_random_search import SimpleCerebrosRandomSearch
    from cerebros.units.units import DenseUnit

    np.random.seed(7)  # the core draws its architectures from numpy's global generator
    rows = np.random.default_rng(7).normal(size=(256, 8)).astype("float32")
    target = (np.tanh(rows @ np.linspace(-1, 1, 8)) + 0.1 * rows[:, 0]).astype("float32")
    with quiet(arguments.verbose):
        return SimpleCerebrosRandomSearch(
            unit_type=DenseUnit,
            input_shapes=[8],
            output_shapes=[1],
            training_data=[tf.constant(rows)],
            labels=[tf.constant(target)],
            validation_split=0.3,
            direction="minimize",
            metric_to_rank_by="val_root_mean_squared_error",
            minimum_levels=2,
            maximum_levels=3,
            minimum_units_per_level=1,
            maximum_units_per_level=2,
            minimum_neurons_per_unit=2,
            maximum_neurons_per_unit=8,
            activation="gelu",
            number_of_architecture_moities_to_try=arguments.architectures,
            number_of_tries_per_architecture_moity=arguments.tries,
            learning_rate=arguments.learning_rate,
            metrics=[tf.keras.metrics.RootMeanSquaredError()],
            epochs=arguments.epochs,
            batch_size=64,
            project_name="project",  # in lower case, as the core saves its models
        )


if __name__ == "__main__":
    main()
