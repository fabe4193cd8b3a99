"""Tests compute on one thread: the small tensors here gain nothing from two, and a busy machine
makes two wait for each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
