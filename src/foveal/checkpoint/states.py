"""Optimizers, random generators and nested state as tensors and JSON, and back.

``X_state(x)`` gives what ``save`` takes: tensors by name or values for JSON. ``load_X_state(x, state)`` puts it back.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.errors import FovealError

_TENSOR, _ARRAY = "$tensor", "$array"


def split(tree: Any, prefix: str = "") -> tuple[dict[str, Tensor], Any]:
    """Take the tensors and arrays out of nested dicts and lists.

    Args:
        tree: dicts with string keys, lists, tuples, tensors, NumPy arrays and scalars, and JSON values.
        prefix: of the tensors' names, which are the paths to them: ``"env/0/qpos"``.

    Returns:
        The tensors by name, and the same tree with ``{"$tensor": name}`` or ``{"$array": name}`` in their places.

    Raises:
        FovealError: a key is no string or begins with ``$``, or an array has no tensor type.
    """
    tensors: dict[str, Tensor] = {}

    def walk(node: Any, path: str) -> Any:
        if isinstance(node, Tensor):
            tensors[path] = node.detach()
            return {_TENSOR: path}
        if isinstance(node, np.ndarray):
            tensors[path] = _array_to_tensor(node, path)
            return {_ARRAY: path}
        if isinstance(node, np.generic):
            return node.item()
        if isinstance(node, Mapping):
            _check_keys(node, path)
            return {key: walk(value, f"{path}/{key}" if path else key) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [walk(value, f"{path}/{i}" if path else str(i)) for i, value in enumerate(node)]
        return node

    return tensors, walk(tree, prefix)


def join(tensors: Mapping[str, Tensor], tree: Any) -> Any:
    """Undo ``split``; tuples come back as lists.

    Raises:
        FovealError: a tensor is missing.
    """
    if isinstance(tree, Mapping):
        if tree.keys() <= {_TENSOR, _ARRAY} and len(tree) == 1:
            (kind, name), *_ = tree.items()
            if name not in tensors:
                raise FovealError(f"the checkpoint lacks the tensor {name!r}")
            return tensors[name].numpy() if kind == _ARRAY else tensors[name]
        return {key: join(tensors, value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [join(tensors, value) for value in tree]
    return tree


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, under their names without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _check_keys(node: Mapping[Any, Any], path: str) -> None:
    for key in node:
        if not isinstance(key, str) or key.startswith("$"):
            raise FovealError(
                f"can't store the key {key!r} of {path or 'the state'}: use strings without a leading '$'"
            )


def _array_to_tensor(array: np.ndarray[Any, Any], path: str) -> Tensor:
    try:
        return torch.from_numpy(np.array(array, order="C"))
    except TypeError as error:
        raise FovealError(f"can't store {path}, an array of {array.dtype}: {error}") from error


# --------------------------------------------------------------------------------------------------------- optimizers


def optimizer_state(
    optimizer: torch.optim.Optimizer, prefix: str = "optimizer/"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything in the optimizer's state: tensors such as ``"optimizer/state/3/exp_avg"``, and the rest for JSON."""
    saved = optimizer.state_dict()
    by_name = {str(index): values for index, values in saved["state"].items()}
    tensors, state = split({"state": by_name, "groups": saved["param_groups"]})
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}, state


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], state: Any, prefix: str = "optimizer/"
) -> None:
    """Put back ``optimizer_state``, from among other tensors.

    The next step is the one that the saved optimizer would have taken.

    Raises:
        FovealError: the optimizer has other parameter groups or shapes, or a tensor is missing.
    """
    parts = join(under(prefix, tensors), state)
    groups = parts["groups"]
    sizes, saved_sizes = ([len(group["params"]) for group in g] for g in (optimizer.param_groups, groups))
    if sizes != saved_sizes:
        raise FovealError(
            f"the saved optimizer has parameter groups of {saved_sizes}, this one of {sizes}; build the same agent"
        )
    for group, current in zip(groups, optimizer.param_groups, strict=True):
        for key, value in group.items():  # JSON has no tuples, such as Adam's betas
            if isinstance(current.get(key), tuple):
                group[key] = tuple(value)
        group |= {key: current[key] for key in ("fused", "foreach", "capturable") if key in current}  # this device's
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    copies = {}
    for index, values in parts["state"].items():
        parameter = parameters[int(index)]
        copies[int(index)] = {key: _copy(v, parameter, f"{key} of parameter {index}") for key, v in values.items()}
    optimizer.load_state_dict({"state": copies, "param_groups": groups})


def _copy(value: Any, parameter: Tensor, name: str) -> Any:
    """A copy of a value that belongs to a parameter, in the parameter's memory layout if it is one for each element.

    Files lose the layout, and the rounding of fused steps depends on it.
    """
    if not isinstance(value, Tensor):
        return value
    if not value.dim():
        return value.clone()
    if value.shape != parameter.shape:
        raise FovealError(
            f"the checkpoint's {name} is {tuple(value.shape)}, the parameter {tuple(parameter.shape)}: "
            "build the same agent"
        )
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value).detach()


# --------------------------------------------------------------------------------------------------- random generators


def load_generator_state(generator: torch.Generator, state: Tensor) -> None:
    """Put back what ``generator.get_state()`` gave, wherever that tensor is now.

    Raises:
        FovealError: the state is of a generator of another device.
    """
    try:
        generator.set_state(state.cpu().clone())
    except RuntimeError as error:
        raise FovealError(f"the saved random state does not fit a {generator.device} generator: {error}") from error


def numpy_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a NumPy generator, ready for JSON."""
    return _listed(generator.bit_generator.state)


def load_numpy_state(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Put back ``numpy_state``.

    Raises:
        FovealError: the state is of another kind of generator.
    """
    try:
        generator.bit_generator.state = dict(state)
    except (ValueError, TypeError, KeyError) as error:
        kind = type(generator.bit_generator).__name__
        raise FovealError(f"the saved random state does not fit a {kind} generator: {error}") from error


def global_random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The states of the global generators: torch's on the CPU and every GPU, NumPy's legacy one and Python's.

    foveal draws from generators of its own, but other code, such as an environment's, may draw from these.
    """
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda:{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    numpy = _listed(np.random.get_state(legacy=False))  # noqa: NPY002 - it is the legacy generator that is meant
    return tensors, {"python": random.getstate(), "numpy": numpy}


def load_global_random_state(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Put back ``global_random_state``, without those of GPUs that this machine lacks."""
    torch.set_rng_state(tensors["cpu"].clone())
    for i in range(torch.cuda.device_count()):
        if f"cuda:{i}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda:{i}"].clone(), i)
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))  # JSON has no tuples
    np.random.set_state(dict(state["numpy"]))  # noqa: NPY002


def _listed(node: Any) -> Any:
    """The same with arrays as lists, which NumPy's generators accept as well."""
    if isinstance(node, np.ndarray):
        return node.tolist()
    if isinstance(node, Mapping):
        return {key: _listed(value) for key, value in node.items()}
    return node
