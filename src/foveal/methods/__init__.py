"""Generalization methods, composed onto a learner. They know no learner by name."""

from foveal.methods.base import METHODS, Context, EstimatedView, Method, PolicyView, Requirements, Setup, View
from foveal.methods.composition import method_class, parts_of

__all__ = [
    "METHODS",
    "Context",
    "EstimatedView",
    "Method",
    "PolicyView",
    "Requirements",
    "Setup",
    "View",
    "method_class",
    "parts_of",
]
