"""`make bench`: the processor beside the ceilings of the machine. See benchmarks/README.md."""
