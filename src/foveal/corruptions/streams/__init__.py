"""Changes that remember: frames that are dropped, frozen or late, and one corruption after another.

A corruption sees one frame of an episode at a time and knows nothing of those before. What does is a ``Stream``: the
frames of one camera go through it in order, and ``state`` has all that it remembers. Every corruption at a severity is
one as well: ``stream("noise", 3, options)``.
"""

from foveal.corruptions.streams.base import (
    STREAMS,
    Corrupting,
    Stream,
    change_names,
    knows_the_task,
    stream,
)

__all__ = ["STREAMS", "Corrupting", "Stream", "change_names", "knows_the_task", "stream"]
