"""What every room may use: values, errors, settings, metrics, small things about text and time. Imports no room."""
