"""Freed memory is kept where the C library can do so."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from foveal.machine import allocator as allocation

FAULTS = """
import ctypes, resource, sys
from foveal.machine.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
libc, size = ctypes.CDLL(None), 64 * 2**20
libc.malloc.restype = ctypes.c_void_p
def use():
    block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(size)))
    ctypes.memset(block, 1, size)
    libc.free(block)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_not_asked_for_again():
    faults = {how: int(subprocess.check_output([sys.executable, "-c", FAULTS, how])) for how in ("keep", "not")}
    assert faults["keep"] < 0.2 * faults["not"]


def test_other_c_libraries_are_left_alone(monkeypatch):
    def without(name: object) -> object:
        return object()

    monkeypatch.setattr(allocation.ctypes, "CDLL", without)
    assert not allocation.keep_freed_memory()
