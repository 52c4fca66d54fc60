"""Pages for people: what an agent looks at, and what a demo has shown."""

from foveal.explanation.attention import Attention, Moment, look
from foveal.explanation.demo import Curve, Training, demo_page
from foveal.explanation.explain import explain
from foveal.explanation.shield import shield_page

__all__ = ["Attention", "Curve", "Moment", "Training", "demo_page", "explain", "look", "shield_page"]
