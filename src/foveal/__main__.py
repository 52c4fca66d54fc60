"""``python -m foveal`` is the command ``foveal``, where scripts are not on the path."""

import sys

from foveal.cli import main

if __name__ == "__main__":  # importing every module, as some tools do, must not run it
    sys.exit(main())
