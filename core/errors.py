"""The one root of all refusals: what the core says when it will not do something."""

from typing import ClassVar


class DomainError(Exception):
    """
    A refusal that a person can understand, as a catalog key and its values.

    Subclasses are defined in the module that raises them. `code` is the key of the sentence that
    the person reads; `str()` is for logs only.
    """

    code: ClassVar[str]

    def __init__(self, **params: object) -> None:
        super().__init__()
        self.params: dict[str, object] = params

    def __str__(self) -> str:
        values = " ".join(f"{name}={value!r}" for name, value in self.params.items())
        return f"{self.code} {values}".rstrip()
