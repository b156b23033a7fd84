"""Avro, compiled once from the schemas: validation, reading, writing, compatibility.

`processor.contracts.catalogue` is the facade. fastavro parses schemas (`schema.py`, its only importer). Bytes are read
and written here, because a fastavro reader recurses on the C stack: a 10 kB message that nests 5,000 levels kills the
process, which no `except` can catch. Speed is no reason: both take the same time.
"""
