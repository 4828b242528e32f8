"""The thin package that the course's notebooks call, in the order in which data flows.

`assets`, `environment` -> `data` -> `models` -> `tuning` -> `training` -> `deployment` -> `teaching` -> `report`, `cli`:
a module imports only from its own row or from the rows before it. Import what you need, for example
`from helpers.data import sources`; this file stays empty of heavy imports, so that `import helpers` is instant.
"""

import os

# PyTorch's threads wait for each other in busy loops by default. With a second busy program on the machine (another notebook, a
# browser) each wait then lasts a whole time slice: measured on 2 cores, training became 20 times slower. Waiting threads that
# sleep cost nothing measurable when the machine is idle. OpenMP reads this when PyTorch is imported, so it must be set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
