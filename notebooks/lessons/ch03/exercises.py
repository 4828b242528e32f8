"""The exercises of chapter 03: diagnose, choose and defend, build."""

from lessons.ch03.building import accumulation
from lessons.ch03.choosing import settings
from lessons.ch03.diagnosing import five_logs, show_logs

__all__ = ["accumulation", "five_logs", "settings", "show_logs"]
