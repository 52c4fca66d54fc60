"""The replay buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from foveal.errors import FovealError
from foveal.replay import checks
from foveal.replay.checks import StackedObservation
from foveal.replay.rows import Array, ReplaySegment, RowStore
from foveal.types import Batch, ExtraField, Observation, moved


@dataclass
class _Window:
    """Rows of one stream at which sampled transitions start: [first, complete), without the ends of episodes."""

    first: int = 0  # the oldest row whose stacked frames are all still in the ring
    complete: int = 0  # every row before this one knows its n-step return
    ends: int = 0  # rows in [first, complete) that end an episode, so that no transition starts there


class ReplayBuffer:
    """Uniform replay of transitions whose frames are stored once.

    Memory for ``capacity`` frames of C * H * W bytes (500,000 of 84x84 RGB are 10.6 GB) is reserved at once and used as
    the buffer fills. The cost of ``add`` and ``sample`` does not depend on how much is stored.

    Args:
        capacity: frames kept, over all streams. An episode of T steps takes T + 1 of them.
        frame_shape: (C, H, W) of one frame; observations are (frame_stack * C, H, W), oldest frame first.
        frame_stack: frames in an observation. At an episode's start its first frame is repeated.
        action_shape: (A,), or () where actions are discrete.
        action_dtype: ``float32``, or ``int64`` where actions are discrete.
        vector_size: V of the vector beside the image, or 0 for none.
        streams: number of environments, each with a sequence of its own.
        n_step: rewards summed before the bootstrap.
        discount: gamma.
        seed: of the sampling.
        device: where frames are stored and batches are returned.
        segment_length: rows in a sealed segment, see ``segments``.
        extras: further fields of every observation, with their shapes.

    Raises:
        FovealError: a number is out of range, or the memory can't be reserved.
    """

    def __init__(
        self,
        capacity: int,
        frame_shape: tuple[int, int, int] = (3, 84, 84),
        frame_stack: int = 3,
        action_shape: tuple[int, ...] = (),
        action_dtype: npt.DTypeLike = np.float32,
        vector_size: int = 0,
        streams: int = 1,
        n_step: int = 1,
        discount: float = 0.99,
        seed: int = 0,
        device: torch.device | str = "cpu",
        segment_length: int = 1024,
        extras: Sequence[ExtraField] = (),
    ) -> None:
        checks.counts(frame_stack=frame_stack, streams=streams, n_step=n_step, segment_length=segment_length)
        if not 0.0 <= discount <= 1.0:
            raise FovealError(f"discount must be within 0 and 1, not {discount}")
        smallest = streams * (frame_stack + n_step)
        if capacity < smallest:
            raise FovealError(
                f"a replay capacity of {capacity} is too small: {streams} stream(s) with frame_stack={frame_stack} and "
                f"n_step={n_step} need at least {smallest} frames"
            )
        self.frame_stack = frame_stack
        self.action_shape = tuple(action_shape)
        self.action_dtype = np.dtype(action_dtype)
        self.vector_size = vector_size
        self.extras = tuple(extras)
        self.n_step = n_step
        self.discount = float(discount)
        self.device = torch.device(device)
        fields = [
            ("step", np.int64),  # in the episode
            ("action", self.action_dtype, self.action_shape),
            ("vector", np.float32, (vector_size,)),
            ("reward", np.float32),
            ("terminated", np.bool_),
            ("truncated", np.bool_),
            *((_column(extra), extra.dtype, extra.shape) for extra in self.extras),
        ]
        channels, height, width = (int(size) for size in frame_shape)
        self._rows = RowStore(
            streams, capacity // streams, (channels, height, width), fields, self.device, segment_length
        )
        self._image_shape = (frame_stack * channels, height, width)
        self._windows = [_Window() for _ in range(streams)]
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Transitions that can be sampled now."""
        return sum(w.complete - w.first - w.ends for w in self._windows)

    @property
    def nbytes(self) -> int:
        """Bytes that the buffer takes once full."""
        return self._rows.nbytes

    # ---------------------------------------------------------------- writing

    def begin(self, stream: int, obs: StackedObservation, extras: Mapping[str, npt.ArrayLike] | None = None) -> None:
        """Start an episode with its first observation.

        An episode of this stream that was still running counts as truncated.

        Args:
            stream: which environment.
            obs: (frame_stack * C, H, W) ``uint8``, one frame repeated, or {"image": that, "vector": (V,)}.
            extras: the extra fields' values at this observation, by name.

        Raises:
            FovealError: wrong shape or type, or a stack that does not repeat one frame.
        """
        window = self._window(stream)
        image, vector = checks.observation(f"stream {stream}, step 0", obs, self._image_shape, self.vector_size)
        frames = image.reshape(self.frame_stack, *self._rows.frame_shape)
        if not (frames == frames[-1]).all():
            raise FovealError(
                f"stream {stream}: the first observation of an episode must repeat its first frame {self.frame_stack} "
                "times, because replay rebuilds it so; change how the environment stacks frames at a reset"
            )
        more = self._more(f"stream {stream}, step 0", extras)
        i = self._rows.write(
            stream, frames[-1], step=0, action=0, vector=vector, reward=0, terminated=False, truncated=False, **more
        )
        window.ends += int(i > 0)  # the row before is the last of its episode
        window.complete = i
        self._forget(stream)

    def add(
        self,
        stream: int,
        action: npt.ArrayLike,
        reward: float,
        terminated: bool,
        truncated: bool,
        next_obs: StackedObservation,
        extras: Mapping[str, npt.ArrayLike] | None = None,
    ) -> None:
        """Append one step of the running episode.

        The step that a vector environment spends on an automatic reset is no transition: call ``begin`` with its
        observation instead.

        Args:
            stream: which environment.
            action: ``action_shape``, taken at the previous observation.
            reward: of that action.
            terminated: whether the task itself ended the episode, so that no value follows.
            truncated: whether the episode was stopped, by a time limit for instance.
            next_obs: the observation after the action, the true last one where the episode ended.
            extras: the extra fields' values at ``next_obs``, by name.

        Raises:
            FovealError: no episode is running, a value is not finite, or a shape or type is wrong.
        """
        window = self._window(stream)
        step = self._next_step(stream)
        where = f"stream {stream}, step {step} of the episode"
        checks.reward(where, reward)
        checked = checks.action(where, action, self.action_shape, self.action_dtype)
        image, vector = checks.observation(where, next_obs, self._image_shape, self.vector_size)
        i = self._rows.write(
            stream,
            image[-self._rows.frame_shape[0] :],
            step=step,
            action=checked,
            vector=vector,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            **self._more(where, extras),
        )
        window.complete = i if terminated or truncated else max(window.complete, i - self.n_step + 1)
        self._forget(stream)

    def _more(self, where: str, extras: Mapping[str, npt.ArrayLike] | None) -> dict[str, Array]:
        """The extra fields' values by column."""
        checked = checks.extras(where, extras, self.extras)
        return {_column(extra): checked[extra.name] for extra in self.extras}

    def _next_step(self, stream: int) -> int:
        """The number of the next ``add`` within the running episode."""
        written = self._rows.written[stream]
        if written == 0:
            raise FovealError(f"stream {stream}: add was called before begin; give the first observation to begin")
        last = self._rows.table[self._rows.slot(stream, written - 1)]
        if last["terminated"] or last["truncated"]:
            raise FovealError(f"stream {stream}: add was called after the episode's end; call begin with the next one")
        return int(last["step"]) + 1

    def _forget(self, stream: int) -> None:
        """Move ``first`` past rows whose stacked frames have been overwritten."""
        window, rows = self._windows[stream], self._rows
        oldest = rows.oldest(stream)
        while window.first < window.complete and self._stack_start(stream, window.first) < oldest:
            window.ends -= int(rows.table["step"][rows.slot(stream, window.first + 1)] == 0)
            window.first += 1

    def _stack_start(self, stream: int, i: int) -> int:
        """The oldest row in the stack of row ``i``."""
        if i < self._rows.oldest(stream):  # the row itself is gone
            return i
        return i - min(int(self._rows.table["step"][self._rows.slot(stream, i)]), self.frame_stack - 1)

    # --------------------------------------------------------------- sampling

    def sample(self, batch_size: int, *, early: bool = False) -> Batch:
        """Draw transitions uniformly, with replacement.

        Args:
            batch_size: B.
            early: whether ``early`` extra fields are wanted, too.

        Returns:
            A batch whose images are (B, frame_stack * C, H, W) ``uint8``. ``reward`` sums gamma^j r over the k <=
            n_step steps until the episode's end, ``discount`` is gamma^k, or 0 if it terminated there, and
            ``next_obs`` is the observation after those k steps.

        Raises:
            FovealError: nothing can be sampled yet.
        """
        if len(self) == 0:
            raise FovealError("replay holds no complete transition yet; add some before sampling")
        stream, start = self._draw(batch_size)  # (B,), (B,)
        count = np.arange(1, self.n_step + 1)  # (n,)
        ahead = start[:, None] + count  # (B, n)
        slots, table = self._rows.slot(stream[:, None], ahead), self._rows.table  # (B, n)
        steps = table["step"][slots]  # (B, n)
        step = steps[:, 0] - 1  # (B,), at the start
        # Steps count up from 0 in each episode, so a row belongs to the window if it is written and its step is right.
        alive = (table["index"][slots] == ahead) & (steps == step[:, None] + count)  # (B, n)
        length = alive.sum(axis=1)  # (B,), k
        reward = (table["reward"][slots] * self.discount ** (count - 1) * alive).sum(axis=1)  # (B,)
        terminated = table["terminated"][slots[np.arange(batch_size), length - 1]]  # (B,)
        now, then = self._images(stream, start, step, length)
        return Batch(
            obs=Observation(now, self._vectors(stream, start)),
            action=self._tensor(table["action"][slots[:, 0]], self.action_dtype),
            reward=self._tensor(reward, np.float32),
            discount=self._tensor(self.discount**length * ~terminated, np.float32),
            next_obs=Observation(then, self._vectors(stream, start + length)),
            extras=self._extras(stream, start, step, early),
            next_extras=self._extras(stream, start + length, step + length, early),
        )

    def _draw(self, batch_size: int) -> tuple[Array, Array]:
        """Streams and rows, (B,) each, at which uniformly drawn transitions start."""
        first = np.array([w.first for w in self._windows])
        spans = np.array([w.complete - w.first for w in self._windows])
        upto = np.cumsum(spans)
        streams, starts, missing = [], [], batch_size
        while missing:
            drawn = self._rng.integers(upto[-1], size=missing)
            stream = np.searchsorted(upto, drawn, side="right")
            start = first[stream] + drawn - (upto - spans)[stream]
            kept = self._rows.table["step"][self._rows.slot(stream, start + 1)] != 0  # 0: the episode ends here
            streams.append(stream[kept])
            starts.append(start[kept])
            missing -= int(kept.sum())
        return np.concatenate(streams), np.concatenate(starts)

    def _images(self, stream: Array, start: Array, step: Array, length: Array) -> tuple[torch.Tensor, torch.Tensor]:
        """Stacked images at ``start`` and ``start + length``, (B, stack * C, H, W) each, from one gather."""
        back = np.arange(1 - self.frame_stack, 1)  # (stack,), oldest frame first
        index = np.concatenate([start, start + length])[:, None]  # (2 * B, 1)
        episode = np.concatenate([start - step, start - step])[:, None]  # (2 * B, 1), its first row
        stack = np.maximum(index + back, episode)  # (2 * B, stack)
        slots = self._rows.slot(np.concatenate([stream, stream])[:, None], stack)
        frames = self._rows.frames(slots.reshape(-1))  # (2 * B * stack, C, H, W)
        both = frames.view(2, len(start), -1, *frames.shape[2:])
        return both[0], both[1]

    def _vectors(self, stream: Array, index: Array) -> torch.Tensor | None:
        if not self.vector_size:
            return None
        return self._tensor(self._rows.table["vector"][self._rows.slot(stream, index)], np.float32)

    def _extras(self, stream: Array, index: Array, step: Array, early: bool) -> dict[str, torch.Tensor]:
        """The extra fields at rows ``index``, which are at ``step`` of their episodes; (B,) each."""
        back = np.arange(1 - self.frame_stack, 1)  # (stack,), oldest frame first
        stack = index[:, None] + np.maximum(back, -step[:, None])  # (B, stack)
        fields = {}
        for extra in (extra for extra in self.extras if early or not extra.early):
            slots = self._rows.slot(stream[:, None], stack) if extra.stacked else self._rows.slot(stream, index)
            fields[extra.name] = self._tensor(self._rows.table[_column(extra)][slots], extra.dtype)
        return fields

    def _tensor(self, values: Array, dtype: npt.DTypeLike) -> torch.Tensor:
        # A copy, because torch refuses the strides of a single row of the table, which NumPy calls contiguous.
        return moved(torch.from_numpy(np.array(values, dtype=dtype, order="C")), self.device)

    # ------------------------------------------------------------------ state

    def segments(self) -> Iterator[ReplaySegment]:
        """All rows still needed: sealed segments of ``segment_length`` rows, and the open tail of each stream.

        No other rows ever get the name of a sealed segment, so a checkpoint may link the file that an earlier one
        wrote under it. Read the segments before the next ``add``.
        """
        return self._rows.segments()

    def state(self) -> dict[str, Any]:
        """What ``load_state`` needs beside the segments, ready for JSON: settings, counters and the random state."""
        return {
            "settings": self._settings(),
            "rows": self._rows.state(),
            "windows": [asdict(window) for window in self._windows],
            "rng": self._rng.bit_generator.state,
        }

    def load_state(self, state: Mapping[str, Any], segments: Mapping[str, Mapping[str, Array]]) -> None:
        """Become the buffer of ``state`` and ``segments``: the same samples follow, bit for bit.

        Args:
            state: from ``state()``.
            segments: segment name -> its arrays.

        Raises:
            FovealError: the state is of a buffer with other settings, or a segment is missing or does not fit.
        """
        mine, theirs = self._settings(), {"extras": [], **state["settings"]}
        differ = [f"{key} {theirs.get(key)!r} (now {now!r})" for key, now in mine.items() if now != theirs.get(key)]
        if differ:
            raise FovealError(
                f"this replay was saved with other settings: {', '.join(differ)}; resume with the settings of the run"
            )
        self._rows.load_state(state["rows"], segments)
        self._windows = [_Window(**window) for window in state["windows"]]
        self._rng.bit_generator.state = state["rng"]

    def _settings(self) -> dict[str, Any]:
        return {
            "streams": len(self._windows),
            "rows_per_stream": self._rows.length,
            "segment_length": self._rows.segment_length,
            "frame_shape": list(self._rows.frame_shape),
            "frame_stack": self.frame_stack,
            "action_shape": list(self.action_shape),
            "action_dtype": self.action_dtype.name,
            "vector_size": self.vector_size,
            "n_step": self.n_step,
            "discount": self.discount,
            "extras": [[extra.name, extra.source, list(extra.shape or ()), extra.dtype] for extra in self.extras],
        }

    def _window(self, stream: int) -> _Window:
        if not 0 <= stream < len(self._windows):
            raise FovealError(f"there is no stream {stream}: this replay has {len(self._windows)}, counted from 0")
        return self._windows[stream]


def _column(extra: ExtraField) -> str:
    """The name of the extra field's column, which no other column has."""
    return f"extra/{extra.name}"
