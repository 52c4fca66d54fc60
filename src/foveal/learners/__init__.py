"""Value learning: targets, TD losses, acting. Learners know no method."""

from foveal.learners.base import LEARNERS, Estimate, Learner, Shapes

__all__ = ["LEARNERS", "Estimate", "Learner", "Shapes"]
