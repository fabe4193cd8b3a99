"""From predictions to metrics, tables and figures."""
