"""Refusals: what the rules do not allow, told by a code and values, never by a sentence."""

from typing import ClassVar


class DomainError(Exception):
    """
    A rule refused the request; nothing was changed.

    `code` is the catalog key under which each language explains the refusal, `params` the
    values that the explanation names; `str()` is for logs only.
    """

    code: ClassVar[str]

    def __init__(self, **params: object) -> None:
        super().__init__()
        self.params = params

    def __str__(self) -> str:
        values = " ".join(f"{name}={value!r}" for name, value in self.params.items())
        return f"{self.code} {values}".rstrip()
