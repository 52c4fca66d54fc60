"""A policy behind a websocket: a server on this machine that speaks the protocol as openpi's does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import numpy as np
import pytest
from websockets.sync.server import ServerConnection, serve

import foveal
from foveal.auditing import OpenPIPolicy
from foveal.auditing.adapters import AdapterOptions, adapted
from foveal.auditing.adapters.openpi import packed, unpacked
from foveal.errors import FovealError
from small_policies import Sides, looking

Answer = Callable[[dict[str, Any]], Any]


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """Metadata first, then an answer to each observation; text where something went wrong."""

    def handle(connection: ServerConnection) -> None:
        connection.send(packed({"policy": "small"}))
        for message in connection:
            assert isinstance(message, bytes)
            try:
                reply: Any = packed(answer(unpacked(message)))
            except ValueError:
                return
            except KeyError as error:
                reply = f"Traceback ...\nKeyError: {error}"
            connection.send(reply)

    with serve(handle, "127.0.0.1", 0, compression=None, max_size=None) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{running.socket.getsockname()[1]}"
        running.shutdown()


def signs(observation: dict[str, Any]) -> dict[str, Any]:
    """A chunk of three actions."""
    return {"actions": np.full((3, 1), 2.0 * looking(observation["image"]) - 1.0), "server_timing": {"infer_ms": 1.0}}


def test_arrays_travel_as_maps_of_bytes() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    raw = msgpack.unpackb(packed({"a": array}), strict_map_key=False)
    assert raw["a"] == {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": "<f4", b"shape": [2, 3]}
    number = msgpack.unpackb(packed({"b": np.int16(7)}), strict_map_key=False)
    assert number["b"] == {b"__npgeneric__": True, b"data": 7, b"dtype": "<i2"}


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64", "bool"])
def test_what_is_packed_comes_back(dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    found = unpacked(packed({"a": array, "n": array[1, 1], "text": "x", "deep": {"b": [array]}}))
    assert np.array_equal(found["a"], array) and found["a"].dtype == array.dtype
    assert found["n"] == array[1, 1] and found["text"] == "x"
    assert np.array_equal(found["deep"]["b"][0], array)


def test_what_the_protocol_does_not_carry_is_refused() -> None:
    with pytest.raises(FovealError, match="does not carry arrays of complex128"):
        packed({"a": np.zeros(2, complex)})


@pytest.mark.slow
def test_a_served_policy_is_audited() -> None:
    with server(signs) as address:
        found = foveal.audit(
            address, Sides(continuous=True), None, changes=["hue"], severities=[1], maps=(), progress=False
        )
    assert found.clean[0].mean == 10.0 and found.verdict == "looks"


def test_chunks_are_carried_out_as_far_as_was_asked_and_begun_anew_with_an_episode() -> None:
    asked: list[dict[str, Any]] = []

    def answer(observation: dict[str, Any]) -> dict[str, Any]:
        asked.append(observation)
        return {"actions": np.array([[float(10 * len(asked) + place)] for place in range(3)])}

    with server(answer) as address:
        policy = OpenPIPolicy(address, AdapterOptions(prompt="stack"), lambda seen: {"base/rgb": seen}, steps=2)
        assert policy.metadata == {"policy": "small"}
        picture = np.zeros((4, 4, 3), np.uint8)
        policy.reset()
        assert [float(policy.act(picture)[0]) for _ in range(3)] == [10.0, 11.0, 20.0]
        policy.reset()
        assert float(policy.act(picture)[0]) == 30.0
        policy.close()
    assert set(asked[0]) == {"base/rgb", "prompt"} and asked[0]["prompt"] == "stack"


def test_what_goes_wrong_there_is_said_here() -> None:
    with server(lambda observation: {"actions": observation["state"]}) as address:
        policy = adapted(address, AdapterOptions())
        with pytest.raises(FovealError, match="failed: KeyError: 'state'"):
            policy.act(np.zeros((4, 4, 3), np.uint8))
        policy.close()
    with server(lambda observation: {"motion": 1}) as address:
        policy = adapted(address, AdapterOptions())
        with pytest.raises(FovealError, match="answered motion, and no actions"):
            policy.act(np.zeros((4, 4, 3), np.uint8))
        policy.close()


def test_a_server_that_goes_away_is_told() -> None:
    def leave(observation: dict[str, Any]) -> Any:
        raise ValueError

    with server(leave) as address:
        policy = adapted(address, AdapterOptions())
        with pytest.raises(FovealError, match="closed the connection"):
            policy.act(np.zeros((4, 4, 3), np.uint8))
        policy.close()


def test_no_server_and_no_extra_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FovealError, match=r"there is no policy at ws://127\.0\.0\.1:9"):
        adapted("ws://127.0.0.1:9", AdapterOptions())
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(FovealError, match=r"pip install 'foveal\[websocket\]'"):
        packed({})
