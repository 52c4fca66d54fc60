"""Value learning: targets, TD losses, acting. Learners know no method."""

from foveal.learners.base import LEARNERS, CriticInput, Estimate, Learner, PolicyView, Shapes

__all__ = ["LEARNERS", "CriticInput", "Estimate", "Learner", "PolicyView", "Shapes"]
