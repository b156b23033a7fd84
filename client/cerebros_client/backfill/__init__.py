"""Trials of the past, reported: from Optuna's storages, MLflow, the core's oracle.csv, and JSON lines.

Each report carries the time its trial ended, so an import never replaces what was reported later, and the same import
again changes nothing.
"""
