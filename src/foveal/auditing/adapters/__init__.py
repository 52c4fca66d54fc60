"""Policies of every kind, asked one observation at a time: a file for each kind, found by what a policy has.

A kind of your own is one file:

    @ADAPTERS.register("mine")
    class Mine(Adapter):
        @classmethod
        def recognises(cls, policy):
            return hasattr(policy, "think")

        def act(self, observation):
            return self.policy.think(observation)
"""

from foveal.auditing.adapters.base import ADAPTERS, Adapter, AdapterOptions, adapted
from foveal.auditing.adapters.lerobot import LeRobotPolicy
from foveal.auditing.adapters.openpi import OpenPIPolicy

__all__ = ["ADAPTERS", "Adapter", "AdapterOptions", "LeRobotPolicy", "OpenPIPolicy", "adapted"]
