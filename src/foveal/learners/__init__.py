"""Value learning: targets, TD losses, acting. Learners know no method."""

from foveal.learners.base import LEARNERS, Estimate, Judged, Learner, PolicyView, Shapes, ValueLearner

__all__ = ["LEARNERS", "Estimate", "Judged", "Learner", "PolicyView", "Shapes", "ValueLearner"]
