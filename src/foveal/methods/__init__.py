"""Generalization methods, composed onto a learner. They know no learner by name."""

from foveal.methods.base import METHODS, Context, EstimatedView, Method, PolicyView, Requirements, Setup, View

__all__ = ["METHODS", "Context", "EstimatedView", "Method", "PolicyView", "Requirements", "Setup", "View"]
