"""The drawings in notebooks/figures are scripts beside each other, so their folder must be on the path to
import them.
"""

import sys

from helpers.files import ROOT

sys.path.insert(0, str(ROOT / "notebooks" / "figures"))
