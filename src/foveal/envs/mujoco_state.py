"""A dm_control environment's complete state, so that a killed run goes on bit for bit.

MuJoCo's integration state alone is not enough: tasks move targets by writing into the model, have attributes of
their own, and read sensors that were computed with the accelerations of the step before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError

# Large and never written by a task. A perturbation that writes textures writes them again in its ``set_state``.
_SKIPPED = {"tex_data"}
# Computed with the accelerations of the step before: a task may read them before the next step, and mj_step1 does not
# compute them.
_CARRIED = ("sensordata", "qacc", "act_dot", "actuator_force", "qfrc_actuator")


def copy_model(physics: Any) -> dict[str, NDArray[Any]]:
    """A copy of every array of the model: what ``get_state`` compares with, to save those alone that have changed."""
    return {name: array.copy() for name, array in _model_arrays(physics).items()}


def get_state(env: Any, baseline: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """The state of a ``dm_control.rl.control.Environment`` as JSON values and arrays."""
    import mujoco

    physics = env.physics
    model = {
        name: array.copy()
        for name, array in _model_arrays(physics).items()
        if not np.array_equal(array, baseline[name])
    }
    return {
        "physics": physics.get_state(sig=int(mujoco.mjtState.mjSTATE_INTEGRATION)),
        "derived": {name: getattr(physics.data, name).copy() for name in _CARRIED},
        "model": model,
        "random": env.task.random.get_state(legacy=False),
        "task": {name: _plain(name, value) for name, value in vars(env.task).items() if name != "_random"},
        "step_count": env._step_count,
        "reset_next_step": env._reset_next_step,
    }


def set_state(env: Any, baseline: dict[str, NDArray[Any]], state: dict[str, Any]) -> None:
    """Go on where ``get_state`` was called, in an environment built with the same options.

    Raises:
        FovealError: the state is of another task.
    """
    import mujoco

    physics = env.physics
    signature = int(mujoco.mjtState.mjSTATE_INTEGRATION)
    if np.size(state["physics"]) != mujoco.mj_stateSize(physics.model.ptr, signature):
        raise FovealError("this saved simulator state is of another task or another MuJoCo version")
    arrays = _model_arrays(physics)
    for name, original in baseline.items():
        np.copyto(arrays[name], state["model"].get(name, original))
    physics.set_state(np.asarray(state["physics"], np.float64), sig=signature)
    mujoco.mj_step1(physics.model.ptr, physics.data.ptr)
    for name in _CARRIED:
        np.copyto(getattr(physics.data, name), state["derived"][name])
    if physics.model.nhfield:
        _upload_height_fields(physics)
    env.task.random.set_state(state["random"])
    for name, value in state["task"].items():
        setattr(env.task, name, value)
    env._step_count = int(state["step_count"])
    env._reset_next_step = bool(state["reset_next_step"])


def _model_arrays(physics: Any) -> dict[str, NDArray[Any]]:
    model = physics.model.ptr
    arrays = {name: getattr(model, name) for name in dir(model) if not name.startswith("_") and name not in _SKIPPED}
    return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray) and array.size}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, (list, tuple)):
        return [_plain(name, item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise FovealError(f"the task keeps a {type(value).__name__} in its attribute {name!r}, which can't be saved")


def _upload_height_fields(physics: Any) -> None:
    import mujoco

    contexts = physics.contexts
    with contexts.gl.make_current() as context:
        for index in range(physics.model.nhfield):
            context.call(mujoco.mjr_uploadHField, physics.model.ptr, contexts.mujoco.ptr, index)
