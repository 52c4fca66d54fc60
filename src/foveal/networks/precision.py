"""Where convolutions may run in bfloat16: chosen once per device, told to every convolutional network."""

from __future__ import annotations

import torch

from foveal.errors import FovealError

PRECISIONS = ("auto", "float32", "bfloat16")


def convolution_dtype(precision: str, device: torch.device | str) -> torch.dtype:
    """The dtype of convolutions on a device.

    Args:
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the hardware multiplies it natively.

    Raises:
        FovealError: another name.
    """
    if precision not in PRECISIONS:
        raise FovealError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision == "float32":
        return torch.float32
    if precision == "bfloat16" or _has_native_bfloat16(torch.device(device)):
        return torch.bfloat16
    return torch.float32


def _has_native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    capability = torch.cpu.get_capabilities()
    return any(capability.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
