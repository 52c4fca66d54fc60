"""Policies of LeRobot: ``reset()`` and ``select_action(batch)``, with the pre- and postprocessor that belong to them.

Nothing of LeRobot is imported: what counts is the shape of its interface. Observations become batches as its own
``preprocess_observation`` makes them: pictures (1, 3, H, W) from 0 to 1 as ``observation.image``, or
``observation.images.NAME`` where there are several; ``agent_pos`` is ``observation.state``, ``environment_state`` is
``observation.environment_state``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.auditing.adapters.base import ADAPTERS, Adapter, AdapterOptions
from foveal.auditing.cameras import plain
from foveal.errors import FovealError

OBSERVATION = "observation"
IMAGE, IMAGES, STATE = f"{OBSERVATION}.image", f"{OBSERVATION}.images", f"{OBSERVATION}.state"
VECTORS = {"agent_pos": STATE, "environment_state": f"{OBSERVATION}.environment_state", "vector": STATE, "state": STATE}
"""Names in environments -> names in batches."""

Processor = Callable[[Any], Any]


@ADAPTERS.register("lerobot")
class LeRobotPolicy(Adapter):
    """A policy of LeRobot.

    Args:
        policy: with ``reset`` and ``select_action``.
        options: see ``AdapterOptions``; its ``prompt`` goes into the batch as ``task``.
        preprocessor, postprocessor: what ``make_pre_post_processors`` gave; without them batches and actions go through
            as they are, which is right for policies that normalise within.
    """

    rank = 30

    def __init__(
        self,
        policy: Any,
        options: AdapterOptions | None = None,
        preprocessor: Processor | None = None,
        postprocessor: Processor | None = None,
    ) -> None:
        super().__init__(policy, options)
        self.kind = f"{type(policy).__name__} of LeRobot"
        self._before, self._after = preprocessor or _same, postprocessor or _same
        self._pictures = list(getattr(getattr(policy, "config", None), "image_features", None) or {})
        if preprocessor is None:
            self.remarks = ("No preprocessor was given: the policy saw observations as they are.",)

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return callable(getattr(policy, "select_action", None)) and callable(getattr(policy, "reset", None))

    def reset(self) -> None:
        for part in (self.policy, self._before, self._after):
            begin = getattr(part, "reset", None)
            if begin is not None:
                begin()

    @torch.no_grad()
    def act(self, observation: Any) -> Any:
        batch = self._named(as_batch(observation))
        if self.options.prompt:
            batch["task"] = [self.options.prompt]
        action = self._after(self.policy.select_action(self._before(batch)))
        return plain(action)[0]

    def _named(self, batch: dict[str, Any]) -> dict[str, Any]:
        """With the pictures under the names that the policy knows: one picture goes under its only name."""
        given = [name for name in batch if name.startswith((IMAGE, IMAGES))]
        if not self._pictures or set(self._pictures) <= set(given):
            return batch
        if len(self._pictures) == len(given) == 1:
            return {
                **{name: entry for name, entry in batch.items() if name not in given},
                self._pictures[0]: batch[given[0]],
            }
        raise FovealError(
            f"this policy sees {', '.join(self._pictures)}, and the environment shows {', '.join(given) or 'nothing'}: "
            "name the environment's pictures as the policy does"
        )


def as_batch(observation: Any) -> dict[str, Any]:
    """An observation of one environment as LeRobot's batch of one."""
    if not isinstance(observation, Mapping):
        return {IMAGE: _picture(observation)}
    batch: dict[str, Any] = {}
    for name, entry in observation.items():
        if name.startswith(f"{OBSERVATION}."):
            batch[name] = _picture(entry) if _is_picture(entry) else _vector(entry)
        elif isinstance(entry, Mapping):
            batch |= {f"{IMAGES}.{camera}": _picture(picture) for camera, picture in entry.items()}
        elif _is_picture(entry):
            batch[IMAGE if name in ("pixels", "image") else f"{IMAGES}.{name}"] = _picture(entry)
        else:
            batch[VECTORS.get(name, f"{OBSERVATION}.{name}")] = _vector(entry)
    return batch


def _is_picture(entry: Any) -> bool:
    array = np.asarray(entry)
    return array.dtype == np.uint8 and array.ndim == 3


def _picture(entry: Any) -> Tensor:
    """(1, 3, H, W) ``float32`` from 0 to 1."""
    array = np.asarray(entry)
    if array.shape[2] <= array.shape[0]:
        array = array.transpose(2, 0, 1)
    return torch.from_numpy(np.array(array, np.float32) / 255.0)[None]


def _vector(entry: Any) -> Tensor:
    return torch.from_numpy(np.array(entry, np.float32)).reshape(1, -1)


def _same(given: Any) -> Any:
    return given
