"""What a process that trains should ask of the system, before it imports torch."""

import ctypes
import os
import sys

# of glibc's mallopt: keep so much freed memory, ask for so much at once, and hand back at once only
# blocks from this size on (the largest that it takes)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = (-1, 2**31 - 1), (-2, 2**28), (-3, 2**25)


# how often GNU's OpenMP looks before it sleeps: some microseconds, as between two loops of a step
_SPINS = "1000"


def prepare() -> None:
    """Threads that soon sleep when they wait, and memory that is kept between training steps.

    Threads that spin while they wait are many times slower as soon as anything else runs on the
    machine; threads that sleep at once take half as long again where nothing does. And glibc hands
    large blocks back to the system as soon as they are freed, so that each step pays for zeroed
    pages anew. For programs (``kgt``, benchmarks); a library must not decide this for the program
    that imports it. Settings of the user's own (``OMP_WAIT_POLICY``, ``GOMP_SPINCOUNT``,
    ``MALLOC_*``) stay as they are.

    Example:
        >>> prepare()
        >>> "OMP_WAIT_POLICY" in os.environ
        True
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    if sys.platform.startswith("linux") and not any(k.startswith("MALLOC_") for k in os.environ):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
        if mallopt is not None:
            for name, value in (_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD):
                mallopt(name, value)
