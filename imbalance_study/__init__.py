"""Which remedy for class imbalance helps this image model on this data, how sure, at what cost."""

import os

__version__ = "0.1.0"

# Threads that wait for each other spin by default, and on a shared machine they spin in the place
# of the thread they wait for: training was 30 times slower beside another busy program, and no
# faster alone. Read by the OpenMP runtime when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
