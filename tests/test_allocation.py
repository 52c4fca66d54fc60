"""Freed memory is kept where the C library can do so."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from foveal import allocation

FAULTS = """
import resource, sys
import torch
from foveal.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(2**24)  # 64 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_not_asked_for_again():
    faults = {how: int(subprocess.check_output([sys.executable, "-c", FAULTS, how])) for how in ("keep", "not")}
    assert faults["keep"] < 0.2 * faults["not"]


def test_other_c_libraries_are_left_alone(monkeypatch):
    def without(name: object) -> object:
        return object()

    monkeypatch.setattr(allocation.ctypes, "CDLL", without)
    assert not allocation.keep_freed_memory()
