"""What a learner uses again, in the order in which data flows.

`data` -> `models` -> `tuning` -> `tasks` -> `training` -> `runs` -> `deployment` -> `cli`: a module imports
only from its own room or from the rooms before it (docs/architecture.md). Import what you need, for example
`from helpers.data import sources`; this file stays empty of imports, so that `import helpers` is instant.
"""

__version__ = "0.1.0"
