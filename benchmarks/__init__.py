"""What the library claims, measured: ``python -m benchmarks.NAME [--quick] --out FILE.json``."""

import os

# Threads that wait without spinning: with anything else on the machine, spinning ones are many
# times slower. It has to be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
