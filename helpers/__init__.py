"""The thin package that the course's notebooks call, in the order in which data flows.

`assets`, `environment` -> `data` -> `models` -> `tuning` -> `training` -> `deployment`, `export`, `drift` ->
`service` -> `teaching` -> `report`, `cli`: a module imports only from its own row or from the rows before it.
Import what you need, for example `from helpers.data import sources`; this file stays empty of imports, so
that `import helpers` is instant.
"""

__version__ = "0.1.0"
