"""Who works on the cells of a grid, chosen by one flag: processes here, a Ray cluster, or Slurm.

Each works on a cell by the same process (``foveal.bench.worker``), so results don't depend on the engine. A new one is
one file with ``@ENGINES.register("NAME")``.
"""

from foveal.bench.engines.base import ENGINES, Engine, EngineOptions

__all__ = ["ENGINES", "Engine", "EngineOptions"]
