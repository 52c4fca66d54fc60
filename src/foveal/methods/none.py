"""The learner alone."""

from __future__ import annotations

from dataclasses import dataclass

from foveal.methods.base import METHODS, Method


@dataclass(frozen=True)
class NoneConfig:
    """No hyperparameters."""


@METHODS.register("none")
class NoMethod(Method):
    """No augmentation, no extra loss: the learner as published."""

    Config = NoneConfig
    capturable = True
