"""``python -m pyg_kgtransfer``: ``kgt``, for programs that start a module, such as torchrun."""

import sys

from pyg_kgtransfer.cli import main

if __name__ == "__main__":
    sys.exit(main())
