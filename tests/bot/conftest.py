"""The frame's own parts, alone on a database or against a playground."""

from tests.stage import empty_stage, stage

__all__ = ["empty_stage", "stage"]
