"""Conversations are tested on the whole service, through the playground's HTTP."""

from tests.stage import PEOPLE, TOKEN, Stage, empty_stage, playground, stage

__all__ = ["PEOPLE", "TOKEN", "Stage", "empty_stage", "playground", "stage"]
