"""Pages for people: what an agent looks at, and what a demo has shown."""

from foveal.report.attention import Attention, Moment, look
from foveal.report.demo import Curve, Training, demo_page
from foveal.report.explain import explain

__all__ = ["Attention", "Curve", "Moment", "Training", "demo_page", "explain", "look"]
