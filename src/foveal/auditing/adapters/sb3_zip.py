"""Zip files of Stable-Baselines3, read without unpickling anything.

The file holds settings as JSON, in which what JSON can't hold is pickled, and the policy's weights. The pickles are not
touched: spaces are read from what stands in words beside them, weights by PyTorch's restricted reader, and the
networks of PPO, A2C, DQN and SAC with NatureCNN are built again (``sb3_networks``). What is built otherwise is refused,
unless the user trusts the file: then Stable-Baselines3 loads it, which may run any code that is in it.
"""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from foveal.auditing.adapters.base import ADAPTERS, AdapterOptions, is_file
from foveal.auditing.adapters.files import is_stable_baselines
from foveal.auditing.adapters.predicting import PredictingPolicy
from foveal.auditing.adapters.sb3_networks import Rebuilt, rebuilt
from foveal.errors import FovealError, require

ALGORITHMS = {
    "PPO": ("clip_range", "n_epochs"),
    "A2C": ("gae_lambda", "vf_coef"),
    "DQN": ("exploration_fraction", "target_update_interval"),
    "SAC": ("target_entropy", "ent_coef"),
    "TD3": ("policy_delay", "target_policy_noise"),
}
"""Name -> settings that tell it, in the order in which they are looked for."""
SERIALIZED = ":serialized:"
REBUILT = "The policy's network was rebuilt from the weights and the settings in the file; nothing was unpickled."
TRUSTED = "The file was trusted: Stable-Baselines3 loaded it, pickles included."


@ADAPTERS.register("stable-baselines3")
class StableBaselinesFile(PredictingPolicy):
    """A zip file of Stable-Baselines3.

    Raises:
        FovealError: it is damaged, or its network is not one that is rebuilt and the file is not trusted.
    """

    rank = 20

    def __init__(self, policy: Any, options: AdapterOptions | None = None) -> None:
        options, self._path = options or AdapterOptions(), Path(policy)
        settings, weights = _read(self._path)
        algorithm = _algorithm(settings)
        if options.trust:
            agent, told = _trusted(self._path, algorithm), TRUSTED
        else:
            agent, told = _rebuilt(self._path, algorithm, settings, weights, drawn=options.drawn), REBUILT
        super().__init__(agent, options)
        self.remarks = (told, *self.remarks)
        self.kind = f"{algorithm or 'agent'} of Stable-Baselines3, from its file"

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return is_file(policy) and is_stable_baselines(Path(policy))

    @property
    def about(self) -> dict[str, Any]:
        return {"name": str(self._path), "kind": self.kind}


def _rebuilt(
    path: Path, algorithm: str | None, settings: Mapping[str, Any], weights: Mapping[str, Tensor], *, drawn: bool
) -> Rebuilt:
    why = _unknown(algorithm, settings)
    network: Rebuilt | None = None
    observed, actions = _box(settings.get("observation_space")), _actions(settings.get("action_space"))
    if not why and (observed is None or actions is None):
        why = "its spaces are not one picture and Box or Discrete actions"
    if not why:
        assert algorithm is not None and observed is not None and actions is not None
        normalized = settings["policy_kwargs"].get("normalize_images", True)
        network = rebuilt(algorithm, weights, observed, actions, normalized=normalized)
        why = "" if network is not None else "its network is not NatureCNN with the usual heads"
    if network is not None and drawn and not network.draws:
        network, why = None, f"how {algorithm} draws its actions is not built again, only how PPO and A2C do"
    if network is None:
        raise FovealError(
            f"{path} can't be rebuilt without unpickling: {why}. Loading it by Stable-Baselines3 runs whatever code is "
            "in the file: if you trust whoever made it, say --trust (in Python trust=True), or load it yourself and "
            "give foveal.audit the agent"
        )
    return network


def _trusted(path: Path, algorithm: str | None) -> Any:
    sb3 = require("stable_baselines3", "--trust needs Stable-Baselines3 itself: pip install 'foveal[sb3]'")
    kind = getattr(sb3, algorithm or "", None)
    if kind is None:
        raise FovealError(
            f"foveal can't tell which agent of Stable-Baselines3 {path} is: load it yourself, and give foveal.audit "
            "the agent"
        )
    print(f"warning: loading {path} runs whatever code is in it", file=sys.stderr)
    return kind.load(path, device="cpu")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights."""
    try:
        with zipfile.ZipFile(path) as packed:
            settings = json.loads(packed.read("data"))
            held = io.BytesIO(packed.read("policy.pth"))
        weights = torch.load(held, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails with nearly any exception
        told = str(error).strip().partition("\n")[0]
        raise FovealError(f"{path} is no whole file of Stable-Baselines3: {told}") from error
    return settings, weights


def _algorithm(settings: Mapping[str, Any]) -> str | None:
    found = (name for name, told in ALGORITHMS.items() if all(key in settings for key in told))
    return next(found, None)


def _unknown(algorithm: str | None, settings: Mapping[str, Any]) -> str:
    """Why an agent can't be rebuilt; empty where nothing speaks against it."""
    arguments = settings.get("policy_kwargs")
    if algorithm not in ("PPO", "A2C", "DQN", "SAC"):
        return f"{algorithm or 'this agent'} is none of PPO, A2C, DQN and SAC"
    if not isinstance(arguments, dict) or SERIALIZED in arguments:
        return "the arguments of its policy are pickled"
    if other := set(arguments) - {"net_arch", "normalize_images", "use_sde", "optimizer_kwargs"}:
        return f"its policy has arguments of its own, {', '.join(sorted(other))}"
    if settings.get("use_sde"):
        return "it explores by gSDE, which its actions depend on"
    return ""


def _box(told: Any) -> spaces.Box | None:
    """A picture's space from the words that stand beside its pickle."""
    if not isinstance(told, dict) or ".Box'" not in told.get(":type:", "") or "_shape" not in told:
        return None
    shape = tuple(told["_shape"])
    if told.get("dtype") != "uint8" or len(shape) != 3:
        return None
    return spaces.Box(0, 255, shape, np.uint8)


def _actions(told: Any) -> spaces.Space[Any] | None:
    if not isinstance(told, dict):
        return None
    if ".Discrete'" in told.get(":type:", ""):
        return spaces.Discrete(int(told["n"]), start=int(told.get("start", 0)))
    if ".Box'" not in told.get(":type:", "") or told.get("dtype") != "float32":
        return None
    low, high = _numbers(told.get("low", "")), _numbers(told.get("high", ""))
    shape = tuple(told.get("_shape", ()))
    if low is None or high is None or low.size != np.prod(shape) or high.size != np.prod(shape):
        return None
    return spaces.Box(low.reshape(shape), high.reshape(shape), dtype=np.float32)


def _numbers(text: str) -> np.ndarray[Any, Any] | None:
    """What NumPy printed of an array; None where it left some out."""
    if "..." in text or not re.fullmatch(r"[\[\]\s0-9eE.+-]+", text):
        return None
    return np.array(re.sub(r"[\[\]]", " ", text).split(), np.float32)
