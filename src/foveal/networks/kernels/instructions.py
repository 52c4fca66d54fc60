"""Which instructions of the processor the libraries may use."""

from __future__ import annotations

import functools
import os

import torch

_WITHOUT_AVX512 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2")
"""Values of ONEDNN_MAX_CPU_ISA that keep oneDNN from AVX-512."""


@functools.cache
def may_use_avx512() -> bool:
    """Whether oneDNN may use AVX-512: the processor has it, and the user hasn't limited the library."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return limit not in _WITHOUT_AVX512 and torch.backends.cpu.get_cpu_capability().startswith("AVX512")


@functools.cache
def second_level_cache() -> int:
    """Bytes of a core's second-level cache; 0 where the system doesn't say."""
    try:
        return max(0, os.sysconf("SC_LEVEL2_CACHE_SIZE"))
    except (AttributeError, ValueError, OSError):  # not Linux with the GNU library
        return 0
