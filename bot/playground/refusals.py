"""
The refusals of the Bot API, worded and numbered as Telegram does.

Whatever reads parameters or carries out a call may raise one; the server alone answers with it.
"""

PREFIXES = {
    400: "Bad Request: ",
    403: "Forbidden: ",
    404: "Not Found: ",
    409: "Conflict: ",
    429: "Too Many Requests: ",
    500: "Internal Server Error: ",
}


class Refusal(Exception):
    """A Bot API call that is answered with `ok: false`."""

    def __init__(self, reason: str, *, code: int = 400, **parameters: int) -> None:
        super().__init__(reason)
        self.code = code
        self.parameters = parameters
        self.description = PREFIXES.get(code, "") + _lower_first(reason, code=code)


def _lower_first(reason: str, *, code: int) -> str:
    second = reason[1:2]
    if code not in PREFIXES or second.isupper() or second == "_":
        return reason
    return reason[:1].lower() + reason[1:]


def too_many_requests(seconds: int) -> Refusal:
    """Build the refusal that asks for a pause of so many seconds."""
    return Refusal(f"retry after {seconds}", code=429, retry_after=seconds)
