"""Where convolutions may run in bfloat16: chosen once per device, for every convolutional network."""

from __future__ import annotations

import functools

import torch

from foveal.errors import FovealError

PRECISIONS = ("auto", "float32", "bfloat16")


def convolution_dtype(precision: str, device: torch.device | str) -> torch.dtype:
    """The dtype of convolutions on a device.

    Args:
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the hardware multiplies it natively.

    Raises:
        FovealError: another name, or bfloat16 where convolutions can't run in it.
    """
    if precision not in PRECISIONS:
        raise FovealError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision == "float32":
        return torch.float32
    if precision == "bfloat16":
        check_dtype(torch.bfloat16, device)
        return torch.bfloat16
    return torch.bfloat16 if _is_native(torch.device(device)) else torch.float32


def check_dtype(dtype: torch.dtype, device: torch.device | str) -> None:
    """Refuse bfloat16 where convolutions can't run in it.

    Raises:
        FovealError: on the CPU, without AVX-512 or anything newer.
    """
    if dtype == torch.bfloat16 and torch.device(device).type == "cpu" and not cpu_convolves_bfloat16():
        raise FovealError(
            "convolutions can't run in bfloat16 on this processor, which has neither AVX-512 nor AVX-NE-CONVERT: "
            "set precision to 'auto' or 'float32'"
        )


def portable_precision(precision: str, device: torch.device | str) -> str:
    """The precision to use here of what was trained elsewhere: float32 where it was bfloat16, which can't run here.

    Weights are float32 with either.
    """
    here = torch.device(device).type != "cpu" or cpu_convolves_bfloat16()
    return precision if precision != "bfloat16" or here else "float32"


@functools.cache
def cpu_convolves_bfloat16() -> bool:
    """Whether oneDNN accepts a bfloat16 convolution. It is tried, because users can limit the library's instructions.

    Without oneDNN, PyTorch has a convolution of its own, which accepts every type.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return True
    image, kernels = (torch.zeros(1, 8, side, side, dtype=torch.bfloat16) for side in (4, 3))
    try:
        torch.ops.mkldnn._convolution_pointwise(image, kernels, None, [0, 0], [1, 1], [1, 1], 1, "relu", [], "")
    except RuntimeError as error:
        if "bf16" not in str(error):
            raise
        return False
    return True


def _is_native(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16. AVX-512 alone emulates it, at half the speed of float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    capability = torch.cpu.get_capabilities()
    multiplies = any(capability.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return multiplies and cpu_convolves_bfloat16()
