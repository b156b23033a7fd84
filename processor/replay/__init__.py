"""Everything that reads the past again: offset resets, windows, forecasts, verify, redrives."""
