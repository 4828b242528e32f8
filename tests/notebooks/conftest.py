"""The drawings in notebooks/figures are scripts beside each other, and so is what reads a notebook's prose:
both folders must be on the path.
"""

import sys
from pathlib import Path

from helpers.files import ROOT

sys.path[:0] = [str(ROOT / "notebooks" / "figures"), str(Path(__file__).parent)]
