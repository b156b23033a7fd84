"""events -> MLflow: every succeeded and failed trial as one run of a tracking server, once, and linked."""
