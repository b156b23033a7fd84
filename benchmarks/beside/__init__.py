"""The dashboard beside Optuna Dashboard and the MLflow UI; see __main__.py."""
