"""What MLflow is told; the only package that talks to it."""
