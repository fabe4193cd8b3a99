"""From the store to tables and reports: scripts to run, and functions for notebooks."""
