"""Refusals: what the rules do not allow, told by a code and values, never by a sentence."""


class DomainError(Exception):
    """
    A rule refused the request; nothing was changed.

    `code` is the catalog key under which each language explains the refusal,
    `params` the values that the explanation names.
    """

    code = "error.refused"

    def __init__(self, **params: object) -> None:
        super().__init__(self.code, params)
        self.params = params
