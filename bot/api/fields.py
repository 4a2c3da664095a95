"""Fields that several bodies share."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from bot.texts import clean_line
from core.errors import DomainError

RowId = Annotated[int, Field(ge=1, le=2**62)]
# Beyond these years a moment is a slip, and arithmetic on it may overflow.
Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC)),
]


class Body(BaseModel):
    """What a caller sends; a field that we do not know is probably misspelt and refused."""

    model_config = ConfigDict(extra="forbid")


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


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("the character NUL is no part of a word")
    return text


Word = Annotated[str, Field(max_length=100), AfterValidator(_without_nul)]
Name = Annotated[str, _line(100)]
Reason = Annotated[str, _line(300)]
