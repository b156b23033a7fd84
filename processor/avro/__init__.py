"""Avro, compiled once from the schemas: validation, reading, writing, compatibility. `processor.catalogue` is its facade.

fastavro parses schemas and names them (`schema.py`, the only importer); bytes are read and written here, because a
fastavro reader takes deep nesting on the C stack: a 10 kB message kills the process, which no `except` can catch.
"""
