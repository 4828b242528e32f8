"""The exercises of chapter 02: text files with a labels file, four loaders, a plan for a job."""

from lessons.ch02.building import texts
from lessons.ch02.choosing import plan
from lessons.ch02.diagnosing import diagnosis, loaders

__all__ = ["diagnosis", "loaders", "plan", "texts"]
