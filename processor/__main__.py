"""`python -m processor` is `processor`."""

from processor.cli.main import run

run()
