"""Recording of runs in MLflow, and reading them back."""
