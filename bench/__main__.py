"""`python -m bench`: see docs/benchmarks.md."""

from bench.cli import main

main()
