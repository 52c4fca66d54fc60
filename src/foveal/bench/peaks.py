"""The best that this machine can do: matrix products and convolutions in both precisions."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F

from foveal.bench.stopwatch import fastest

SIZE = {"cpu": 1024, "cuda": 8192}
"""Side of the square matrices."""
BATCH = {"cpu": 128, "cuda": 1024}
"""Images in the convolution, which is one of the published encoder's: 32 to 32 channels on 41x41 pixels."""


INSTRUCTIONS = {"amx_bf16": "AMX-BF16", "avx512_bf16": "AVX512-BF16", "avx512_f": "AVX512", "avx2": "AVX2"}
"""PyTorch's names of instruction sets, the best first, and their usual names."""
LIMITS = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
"""Variables that limit what oneDNN, PyTorch and MKL use."""


def instruction_set() -> str:
    """The processor's best instruction set for this, and any limits that the user has set."""
    capable = torch.cpu.get_capabilities()
    best = next((name for key, name in INSTRUCTIONS.items() if capable.get(key)), "none known")
    limits = [f"{name}={os.environ[name]}" for name in LIMITS if os.environ.get(name)]
    return f"{best}, limited by {', '.join(limits)}" if limits else best


def peaks(device: torch.device) -> dict[str, float]:
    """GFLOP/s of ``matmul_float32``, ``matmul_bfloat16``, ``conv_float32`` and ``conv_bfloat16``, forward only.

    A multiplication and an addition count as two.
    """
    speeds = {}
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        speeds[f"matmul_{name}"] = _matmul(device, dtype)
        speeds[f"conv_{name}"] = _convolution(device, dtype)
    return speeds


def _matmul(device: torch.device, dtype: torch.dtype) -> float:
    size = SIZE.get(device.type, SIZE["cpu"])
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / fastest(lambda: left @ right, device) / 1e9


@torch.no_grad()
def _convolution(device: torch.device, dtype: torch.dtype) -> float:
    batch = BATCH.get(device.type, BATCH["cpu"])
    image = torch.randn(batch, 32, 41, 41, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    kernels = torch.randn(32, 32, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    operations = 2 * batch * 39 * 39 * 32 * 32 * 9
    return operations / fastest(lambda: F.conv2d(image, kernels), device) / 1e9
