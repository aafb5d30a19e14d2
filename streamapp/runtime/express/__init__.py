"""The ledger's express lane and its remembered ids, in C (`c/`), and their faces in Python.

Nothing here knows a rule that `tables/` does not: what is not plain is left to the ledger. `build` compiles the library
into this folder; `library` loads it.
"""
