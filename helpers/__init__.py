"""What a learner uses again, in the order in which data flows.

`safety` -> `data` -> `own` -> `models` -> `tuning` -> `tasks` -> `training` -> `runs` -> `deployment` ->
`cli`: a module imports only from its own room or from the rooms before it (docs/architecture.md). Import
what you need, for example `from helpers.data import sources`; this file imports next to nothing, so that
`import helpers` is instant.
"""

from helpers.threads import share_cores

__version__ = "0.1.0"

share_cores()  # here, because every notebook and every command comes through here before it imports torch
