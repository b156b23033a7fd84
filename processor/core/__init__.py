"""What every room may use: values, errors, settings, metrics, and small things about text, time and parts. Imports no room."""
