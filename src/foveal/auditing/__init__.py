"""Audits of anybody's policy: which changes of the picture break it, and whether it looks at its camera at all.

``foveal.audit`` plays a policy in its environment, or shows it recorded frames, under every change of
``foveal.corruptions``, and with the camera replaced by something that tells nothing. What a policy is does not matter:
``foveal.auditing.adapters`` has one file for each kind.
"""

from foveal.auditing.adapters import Adapter, LeRobotPolicy, OpenPIPolicy
from foveal.auditing.results import Audit, Point
from foveal.auditing.running import audit

__all__ = ["Adapter", "Audit", "LeRobotPolicy", "OpenPIPolicy", "Point", "audit"]
