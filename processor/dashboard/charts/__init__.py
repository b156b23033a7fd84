"""Charts as SVG, drawn on the server: rows of `queries.charts` -> a picture, and words about what it leaves out.

Each module is one chart. Names of metrics and parameters are text in them, and escaped as such; nothing is loaded.
"""
