"""The benchmarks of the other groups: `make bench GROUP=…`; `registry.py` lists them."""
