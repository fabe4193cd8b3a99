"""What all tests share.

Tests compute on one thread: the small tensors here gain nothing from two, and a busy machine makes
two wait for each other. Torch reads the variable when it is imported, which is later.
"""

import contextlib
import os
import resource

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def small_files_only():
    """A context in which no file can grow beyond so many bytes, as on a disk that fills up.

    Only around the call under test: the limit is that of the whole process, its log included.
    """

    @contextlib.contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
