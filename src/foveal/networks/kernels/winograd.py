"""Convolutions of 3x3 kernels and stride 1 in float32, with a quarter of the multiplications of the definition.

Winograd's algorithm F(4x4, 3x3), as in Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016).
oneDNN has none for these processors. The arithmetic is in ``winograd.c``, which the system's C compiler translates at
first use, once for a machine, in about two seconds; its result lies in the user's cache. Where there is no compiler, or
where the processor has no AVX2, PyTorch's own convolutions run as before. Sums are rounded otherwise than
there: results differ by some millionths of the largest one.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from foveal.networks.kernels.instructions import may_use_avx512

SWITCH = "FOVEAL_WINOGRAD"
"""Environment variable; 0 leaves all convolutions to PyTorch."""
SOURCE = Path(__file__).with_suffix(".c")
FLAGS = {8: ("-mavx2", "-mfma"), 16: ("-mavx512f", "-mfma", "-mprefer-vector-width=512")}
"""Of the compiler, by the floats in a vector."""
LEAST_WORK = 2**18
"""Pixels of the result times input and output channels, below which the call costs more than it saves."""
LEAST_USE = 0.5
"""Share of the tiles' pixels that are pixels of the result: a 5x5 result takes four tiles of 16."""
TILE = 4
MOST_PARTS, TILES_OF_PART = 16, 192
"""Into how many parts a batch is divided for the gradients of weights: each has sums of its own, which cost time."""
G = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
"""Takes three weights to the six points of the algorithm."""
_GG = torch.kron(G, G)  # (36, 9): the same for rows and columns of a kernel at once


def suits(image: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> bool:
    """Whether a convolution of ``image`` (B, C, H, W) by ``weight`` (C', C, h, w) can run here, and gains by it."""
    in_float32 = image.device.type == "cpu" and image.dtype == torch.float32
    if not in_float32 or stride != [1, 1] or weight.shape[2:] != (3, 3) or not set(padding) <= {0, 1, 2}:
        return False
    outs, channels = weight.shape[:2]
    rows, columns = _result_sides(image, padding)
    if min(rows, columns) < 1 or len(image) * rows * columns * channels * outs < LEAST_WORK:
        return False
    if rows * columns < LEAST_USE * TILE**2 * _tiles(rows) * _tiles(columns):
        return False
    width = vector_width()
    return width > 0 and outs % width == 0 and channels % width == 0 and library() is not None


def convolve(image: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], *, relu: bool) -> Tensor:
    """The convolution, ``bias`` added, and a ReLU after it if wanted.

    Args:
        image: (B, C, H, W).
        weight: (C', C, 3, 3).
        bias: (C',).
        padding: zeros beyond each border, (rows, columns).

    Returns:
        (B, C', H', W'), ``channels_last``.

    Raises:
        MemoryError: none is left.
    """
    return torch.ops.foveal.winograd_convolve(image, weight, bias, padding, relu)


def parameter_gradients(gradient: Tensor, image: Tensor, weight: Tensor, padding: list[int]) -> tuple[Tensor, Tensor]:
    """The gradients of the weights (C', C, 3, 3) and of the bias (C',) from that of the result (B, C', H', W').

    ``weight`` counts for its shape alone.

    Raises:
        MemoryError: none is left.
    """
    return torch.ops.foveal.winograd_parameter_gradients(gradient, image, weight, padding)


def _convolve(image: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], relu: bool) -> Tensor:
    image, shape = _pixel_by_pixel(image), _shape(image, weight, padding)
    kernels = _GG @ weight.permute(2, 3, 1, 0).reshape(9, -1)  # (36, C * C')
    sides = _result_sides(image, padding)
    out = torch.empty(len(image), len(weight), *sides, memory_format=torch.channels_last)
    bias = None if bias is None else bias.contiguous()
    failed = _ready().convolve(shape, _at(image), _at(kernels), _at(bias), relu, _at(out), torch.get_num_threads())
    _check(failed)
    return out


def _parameter_gradients(gradient: Tensor, image: Tensor, weight: Tensor, padding: list[int]) -> tuple[Tensor, Tensor]:
    image, gradient, shape = _pixel_by_pixel(image), _pixel_by_pixel(gradient), _shape(image, weight, padding)
    outs, channels = weight.shape[:2]
    tiles = len(image) * _tiles(gradient.shape[2]) * _tiles(gradient.shape[3])
    parts = min(MOST_PARTS, max(1, tiles // TILES_OF_PART))  # whatever the number of threads, for the same sums
    sums, bias = image.new_zeros(parts, len(_GG), channels, outs), image.new_zeros(parts, outs)
    weights = image.new_zeros(3, 3, channels, outs)
    arrays = [_at(tensor) for tensor in (image, gradient, _GG, sums, bias, weights)]
    failed = _ready().weight_gradient(shape, *arrays, ctypes.c_long(parts), torch.get_num_threads())
    _check(failed)
    return weights.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last), bias[0].clone()


# As operations of PyTorch's, so that its profiler and whatever counts arithmetic see them.
_LIBRARY = torch.library.Library("foveal", "DEF")
_LIBRARY.define("winograd_convolve(Tensor image, Tensor weight, Tensor? bias, int[] padding, bool relu) -> Tensor")
_LIBRARY.define(
    "winograd_parameter_gradients(Tensor gradient, Tensor image, Tensor weight, int[] padding) -> (Tensor, Tensor)"
)
_LIBRARY.impl("winograd_convolve", _convolve, "CPU")
_LIBRARY.impl("winograd_parameter_gradients", _parameter_gradients, "CPU")


@functools.cache
def vector_width() -> int:
    """Floats in a vector of this processor, as far as the user lets the libraries use them; 0 without AVX2."""
    if platform.machine() not in ("x86_64", "AMD64") or os.environ.get(SWITCH) == "0":
        return 0
    if may_use_avx512():
        return 16
    return 8 if torch.backends.cpu.get_cpu_capability().startswith("AVX2") else 0


@functools.cache
def library() -> ctypes.CDLL | None:
    """The translated ``winograd.c``, or None where there is none."""
    width = vector_width()
    if not width or platform.system() != "Linux":
        return None
    try:
        return ctypes.CDLL(str(_translated(width)))
    except (OSError, subprocess.SubprocessError):  # no compiler, no OpenMP, nowhere to write
        return None


def _translated(width: int) -> Path:
    """The shared library for vectors of that width; made if it isn't in the cache.

    It shares PyTorch's threads: both ask for the OpenMP library by the same name, and PyTorch's is loaded already.
    """
    command = [os.environ.get("CC", "cc"), "-O3", f"-DWIDTH={width}", *FLAGS[width], "-fopenmp", "-shared", "-fPIC"]
    name = hashlib.sha256(SOURCE.read_bytes() + " ".join(command).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foveal"
    target = cache / f"winograd-{name}.so"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        made = Path(folder, target.name)
        subprocess.run([*command, "-o", str(made), str(SOURCE)], check=True, capture_output=True, timeout=120)
        made.replace(target)  # whole; several processes may be at it, each in a folder of its own
    return target


def _ready() -> ctypes.CDLL:
    found = library()
    assert found is not None, "suits() was not asked"
    return found


def _result_sides(image: Tensor, padding: list[int]) -> list[int]:
    """Rows and columns of the result."""
    return [side + 2 * more - 2 for side, more in zip(image.shape[2:], padding, strict=True)]


def _shape(image: Tensor, weight: Tensor, padding: list[int]) -> ctypes.Array[ctypes.c_long]:
    """The structure Shape of ``winograd.c``."""
    batch, channels, *sides = image.shape
    return (ctypes.c_long * 9)(batch, *sides, channels, *_result_sides(image, padding), len(weight), *padding)


def _tiles(side: int) -> int:
    return -(-side // TILE)


def _pixel_by_pixel(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


def _at(tensor: Tensor | None) -> ctypes.c_void_p | None:
    return None if tensor is None else ctypes.c_void_p(tensor.data_ptr())


def _check(failed: int) -> None:
    if failed:
        raise MemoryError("no memory for the transformed tiles of a convolution")
