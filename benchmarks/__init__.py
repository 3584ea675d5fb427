"""Claims and the scripts that back them: ``python -m benchmarks.NAME [--quick] --out FILE``."""
