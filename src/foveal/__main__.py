"""``python -m foveal`` is the command ``foveal``, where scripts are not on the path."""

import sys

from foveal.cli import main

sys.exit(main())
