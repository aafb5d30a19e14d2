"""Fast paths, remembered ids and the columns of captured events, in C (`c/`); their faces in Python.

Nothing here knows a rule that `tables/` and `schemas/` do not: what is not plain is left to them. `build` compiles the
library into this folder; `library` loads it.
"""
