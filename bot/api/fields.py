"""Fields that several bodies share."""

from typing import Annotated

from pydantic import AfterValidator, Field

from bot.texts import clean_line
from core.errors import DomainError

RowId = Annotated[int, Field(ge=1, le=2**62)]


def one_line(text: str, *, length_max: int) -> str:
    """
    Return what was written as one tidy line.

    Raises:
        ValueError: nothing readable is left, or too much.
    """
    try:
        return clean_line(text, length_max=length_max)
    except DomainError as refusal:
        raise ValueError(f"{refusal.code}: 1 to {length_max} readable characters") from None


def _line(length_max: int) -> AfterValidator:
    return AfterValidator(lambda text: one_line(text, length_max=length_max))


Name = Annotated[str, _line(100)]
Reason = Annotated[str, _line(300)]
