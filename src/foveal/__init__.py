"""foveal: pixel policies that look at what matters. Train them, stress them, and see what they look at."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveal.agent import Agent
    from foveal.auditing.results import Audit
    from foveal.auditing.running import audit
    from foveal.errors import FovealError
    from foveal.evaluation.results import Results
    from foveal.evaluation.rollouts import evaluate, random_returns
    from foveal.explanation.explain import explain
    from foveal.loading import load, resume
    from foveal.shield import Shield, train_shield
    from foveal.training import Callback

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "Audit",
    "Callback",
    "FovealError",
    "Results",
    "Shield",
    "audit",
    "evaluate",
    "explain",
    "load",
    "random_returns",
    "resume",
    "train_shield",
]

_HOMES = {
    "Agent": "agent",
    "Audit": "auditing",
    "Callback": "training",
    "FovealError": "errors",
    "Results": "evaluation.results",
    "Shield": "shield",
    "audit": "auditing",
    "evaluate": "evaluation.rollouts",
    "explain": "explanation",
    "load": "loading",
    "random_returns": "evaluation.rollouts",
    "resume": "loading",
    "train_shield": "shield",
}


def __getattr__(name: str) -> Any:
    # Imported when first used, so that `foveal --help` and a bare import stay quick.
    if name not in _HOMES:
        raise AttributeError(f"module 'foveal' has no attribute {name!r}")
    return getattr(importlib.import_module(f"foveal.{_HOMES[name]}"), name)
