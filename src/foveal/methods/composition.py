"""Several methods at once: ``sgqn+sada`` has SGQN's consistency and attribution, and SADA's views and policy."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, ClassVar

from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.methods.base import METHODS, Context, Look, Method, PolicyView, Requirements, Setup, View
from foveal.types import Batch, Observation

SIGN = "+"
ALONE = {
    "views": "says which views the critic learns from",
    "policy_views": "says on which views the policy acts",
}
"""Hooks that one method of a composition may define, and what it says by that."""


def parts_of(name: str) -> dict[str, type[Method]]:
    """The methods that a name such as ``"sgqn+sada"`` joins, in this order; of a single method itself alone.

    Raises:
        FovealError: an unknown method, or methods that can't be joined.
    """
    names = name.split(SIGN)
    parts = {part: METHODS.get(part) for part in names}
    if len(names) == 1:
        return parts
    if len(parts) < len(names):
        raise FovealError(f"the method {name!r} has one of its parts twice: give each once")
    if "none" in parts:
        raise FovealError(f"the method {name!r} joins 'none' to others: leave it out")
    for hook, said in ALONE.items():
        owners = [part for part, kind in parts.items() if getattr(kind, hook) is not getattr(Method, hook)]
        if len(owners) > 1:
            raise FovealError(f"{owners[0]!r} and {owners[1]!r} can't be joined: each {said}; choose one of them")
    return parts


@cache
def method_class(name: str) -> type[Method]:
    """The class of a method by name, or of several joined by ``+``; its configuration is then a mapping of theirs.

    Raises:
        FovealError: as for ``parts_of``.
    """
    parts = parts_of(name)
    if len(parts) == 1:
        return parts[name]
    kinds = parts.values()
    capturable, privileged = all(kind.capturable for kind in kinds), any(kind.privileged for kind in kinds)
    return type(name, (Composed,), {"kinds": parts, "capturable": capturable, "privileged": privileged})


class Composed(Method):
    """Methods whose hooks are taken together, each in the order in which the methods were named.

    What they do to the batch and what networks see is done one after the other; their terms of a loss are added; their
    steps follow each other. Views are those of the one method that makes some.

    Args:
        config: name -> the configuration of that method.
        setup: what each of them is built with.
    """

    kinds: ClassVar[Mapping[str, type[Method]]] = {}

    def __init__(self, config: Mapping[str, Any], setup: Setup) -> None:
        super().__init__(config, setup)
        self.parts = nn.ModuleDict({name: kind(config[name], setup) for name, kind in self.kinds.items()})

    def __iter__(self) -> Iterator[Any]:
        return iter(self.parts.values())

    def _of_each(self, hook: str, *arguments: Any) -> dict[str, Any]:
        """What each of them gives by name; where two have a name in common, it is behind that of its method."""
        given = {name: getattr(part, hook)(*arguments) for name, part in self.parts.items()}
        keys = [key for entries in given.values() for key in entries]
        return {
            key if keys.count(key) == 1 else f"{name}/{key}": value
            for name, entries in given.items()
            for key, value in entries.items()
        }

    def _first_with(self, hook: str) -> Any:
        """The hook of the one method that defines it, or what methods do by default."""
        owner = next((part for part in self if getattr(type(part), hook) is not getattr(Method, hook)), None)
        return partial(getattr(Method, hook), self) if owner is None else getattr(owner, hook)

    @classmethod
    def requirements(cls, config: Mapping[str, Any], image_size: int) -> Requirements:
        """Pictures of the size that one of them needs, and whatever else one of them needs.

        Raises:
            FovealError: two of them need pictures larger or smaller than what networks see.
        """
        all_of_them = {name: kind.requirements(config[name], image_size) for name, kind in cls.kinds.items()}
        sizes = {name: of.render_size for name, of in all_of_them.items() if of.render_size != image_size}
        if len(sizes) > 1:
            first, second, *_ = sizes
            raise FovealError(f"{first!r} and {second!r} can't be joined: each takes crops of pictures of its own size")
        extras = {extra.name: extra for needed in all_of_them.values() for extra in needed.extras}
        return Requirements(
            next(iter(sizes.values()), image_size),
            any(needed.pixel_gradient for needed in all_of_them.values()),
            tuple(extras.values()),
        )

    @property
    def sees_all(self) -> bool:
        return all(part.sees_all for part in self)

    @property
    def adapts(self) -> bool:
        return any(part.adapts for part in self)

    @property
    def needs_policy(self) -> bool:
        return any(part.needs_policy for part in self)

    def look_around(self, look: Look, *, visible: bool) -> None:
        for part in self:
            part.look_around(look, visible=visible)

    def get_ready(self) -> None:
        for part in self:
            part.get_ready()

    def begin_learning(self, sample: Callable[[int], Batch], *, visible: bool) -> None:
        for part in self:
            part.begin_learning(sample, visible=visible)

    def close(self) -> None:
        for part in self:
            part.close()

    def begin_update(self, number: int) -> None:
        for part in self:
            part.begin_update(number)

    def due(self, number: int) -> Hashable:
        return tuple(part.due(number) for part in self)

    def perceive(self, image: Tensor) -> Tensor:
        for part in self:
            image = part.perceive(image)
        return image

    def observe(self, obs: Observation) -> Observation:
        for part in self:
            obs = part.observe(obs)
        return obs

    def prepare(self, batch: Batch) -> Batch:
        for part in self:
            batch = part.prepare(batch)
        return batch

    def views(self, batch: Batch) -> list[View]:
        views: list[View] = self._first_with("views")(batch)
        return views

    def policy_views(self, context: Context) -> list[PolicyView]:
        views: list[PolicyView] = self._first_with("policy_views")(context)
        return views

    def critic_loss(self, context: Context) -> dict[str, Tensor]:
        return self._of_each("critic_loss", context)

    def critic_parameters(self) -> list[nn.Parameter]:
        return [parameter for part in self for parameter in part.critic_parameters()]

    def actor_loss(self, context: Context) -> Callable[[], Tensor] | None:
        terms = [term for part in self if (term := part.actor_loss(context)) is not None]
        return partial(_sum, terms) if terms else None

    def auxiliary(self, context: Context) -> dict[str, Tensor]:
        return self._of_each("auxiliary", context)

    def adapt(self, transition: Batch) -> None:
        for part in self:
            part.adapt(transition)

    def maps(self) -> dict[str, Any]:
        return self._of_each("maps")

    def optimizers(self) -> dict[str, Any]:
        return self._of_each("optimizers")


def _sum(terms: Sequence[Callable[[], Tensor]]) -> Tensor:
    return sum((term() for term in terms[1:]), terms[0]())
