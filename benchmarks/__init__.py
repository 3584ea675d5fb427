"""What the library claims, measured: ``python -m benchmarks.NAME [--quick] --out FILE.json``."""

from pyg_kgtransfer.process import prepare

prepare()  # before torch is imported
