"""The command line: one module a command group, one for all output."""
