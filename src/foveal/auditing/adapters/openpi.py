"""Policies served over a websocket as openpi serves them (the extra ``websocket``).

The server sends one message of metadata when a client connects. Then every observation, a dict, is answered by a dict
with ``actions``, (horizon, A). Messages are msgpack; arrays are maps with the byte keys ``__ndarray__``, ``data``,
``dtype`` and ``shape``, single numbers with ``__npgeneric__``. Text is the server's word that something went wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from foveal.auditing.adapters.base import ADAPTERS, Adapter, AdapterOptions
from foveal.errors import FovealError, require

SCHEMES = ("ws://", "wss://")
NDARRAY, GENERIC, DATA, DTYPE, SHAPE = b"__ndarray__", b"__npgeneric__", b"data", b"dtype", b"shape"
UNSAFE = "VOc"
"""Kinds of types that the protocol does not carry."""
SECONDS = 300.0
"""How long an answer may take; the first one often waits for a compiler."""


@ADAPTERS.register("openpi")
class OpenPIPolicy(Adapter):
    """A policy behind a websocket.

    Args:
        policy: the server's address, ``"ws://host:port"``.
        options: see ``AdapterOptions``; its ``prompt`` goes into every observation.
        observe: makes the dict that the policy knows of an observation of the environment; by default that is sent as
            it is, a picture alone as ``image``.
        steps: of every chunk of actions, so many are carried out before the next is asked for.

    Attributes:
        metadata: what the server said of itself.

    Raises:
        FovealError: the extra is missing, or there is no such server.
    """

    rank = 5

    def __init__(
        self,
        policy: str,
        options: AdapterOptions | None = None,
        observe: Callable[[Any], Mapping[str, Any]] | None = None,
        steps: int = 1,
    ) -> None:
        super().__init__(policy, options)
        self.kind = "policy served over openpi's protocol"
        self._observe, self._steps = observe or _as_dict, steps
        self._ahead: list[Any] = []
        self._held = ExitStack()
        self._connection = _connected(policy, self._held)
        self.metadata: dict[str, Any] = unpacked(self._answer())

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return isinstance(policy, str) and policy.startswith(SCHEMES)

    def reset(self) -> None:
        self._ahead = []

    def act(self, observation: Any) -> Any:
        if not self._ahead:
            chunk = np.asarray(self._asked(observation)["actions"])
            self._ahead = list(np.atleast_2d(chunk)[: self._steps])
        return self._ahead.pop(0)

    def close(self) -> None:
        self._held.close()

    def _asked(self, observation: Any) -> dict[str, Any]:
        given = dict(self._observe(observation))
        if self.options.prompt:
            given["prompt"] = self.options.prompt
        self._connection.send(packed(given))
        found = unpacked(self._answer())
        if "actions" not in found:
            raise FovealError(f"the policy at {self.policy} answered {', '.join(map(str, found))}, and no actions")
        return found

    def _answer(self) -> bytes:
        """The server's next message."""
        closed = _library("websockets.exceptions").ConnectionClosed
        try:
            answer: bytes | str = self._connection.recv(SECONDS)
        except TimeoutError as error:
            raise FovealError(f"the policy at {self.policy} did not answer within {SECONDS:g} s") from error
        except closed as error:
            raise FovealError(f"the policy at {self.policy} closed the connection: {error}") from error
        if isinstance(answer, str):
            raise FovealError(f"the policy at {self.policy} failed: {answer.strip().splitlines()[-1]}")
        return answer


def packed(content: Any) -> bytes:
    """A message.

    Raises:
        FovealError: an array is of a type that the protocol does not carry.
    """
    answer: bytes = _library("msgpack").packb(content, default=_as_map)
    return answer


def unpacked(message: bytes) -> dict[str, Any]:
    """The inverse of ``packed``."""
    found: dict[str, Any] = _library("msgpack").unpackb(message, object_hook=_as_array, strict_map_key=False)
    return found


def _as_map(entry: Any) -> Any:
    if isinstance(entry, (np.ndarray, np.generic)) and entry.dtype.kind in UNSAFE:
        raise FovealError(f"openpi's protocol does not carry arrays of {entry.dtype}")
    if isinstance(entry, np.ndarray):
        return {NDARRAY: True, DATA: entry.tobytes(), DTYPE: entry.dtype.str, SHAPE: entry.shape}
    if isinstance(entry, np.generic):
        return {GENERIC: True, DATA: entry.item(), DTYPE: entry.dtype.str}
    return entry


def _as_array(entry: dict[Any, Any]) -> Any:
    if NDARRAY in entry:
        return np.frombuffer(entry[DATA], np.dtype(entry[DTYPE])).reshape(entry[SHAPE])
    if GENERIC in entry:
        return np.dtype(entry[DTYPE]).type(entry[DATA])
    return entry


def _connected(address: str, held: ExitStack) -> Any:
    """A connection, which is closed with ``held``."""
    connect = _library("websockets.sync.client").connect
    try:
        return held.enter_context(connect(address, compression=None, max_size=None, open_timeout=SECONDS))
    except (OSError, ValueError, _library("websockets.exceptions").WebSocketException) as error:
        raise FovealError(f"there is no policy at {address}: {error}; is the server running?") from error


def _library(name: str) -> Any:
    return require(name, "served policies need an extra: pip install 'foveal[websocket]'")


def _as_dict(observation: Any) -> Mapping[str, Any]:
    return observation if isinstance(observation, Mapping) else {"image": observation}
