"""The refusals of the Bot API, worded and numbered as Telegram does."""

PREFIXES = {
    400: "Bad Request: ",
    403: "Forbidden: ",
    404: "Not Found: ",
    409: "Conflict: ",
    429: "Too Many Requests: ",
}


class Refusal(Exception):
    """A Bot API call that is answered with `ok: false`."""

    def __init__(self, reason: str, *, code: int = 400, retry_after: int = 0) -> None:
        super().__init__(reason)
        self.code = code
        self.retry_after = retry_after
        # Telegram begins in lower case, save for words like BUTTON_DATA_INVALID.
        if code in PREFIXES and not (reason[1:2].isupper() or reason[1:2] == "_"):
            reason = reason[:1].lower() + reason[1:]
        self.description = PREFIXES.get(code, "") + reason


def too_many_requests(seconds: int) -> Refusal:
    """Build the refusal that asks for a pause of so many seconds."""
    return Refusal(f"retry after {seconds}", code=429, retry_after=seconds)


def require(condition: object, reason: str, *, code: int = 400) -> None:
    """Refuse the call unless a condition holds."""
    if not condition:
        raise Refusal(reason, code=code)
