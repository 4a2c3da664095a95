"""Tables in files: CSV in the usual encodings, and workbooks, as rows of cells."""

import csv
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from io import BytesIO, StringIO

from python_calamine import CalamineError, CalamineWorkbook

from core.errors import DomainError

Cell = str | int | float | bool | date | datetime | time | timedelta

_WORKBOOKS = (b"PK", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods are archives, .xls a compound file
_PICTURES = (b"\x89PNG", b"\xff\xd8", b"GIF8", b"%PDF")
_ENCODINGS = ("utf-8-sig", "gb18030")
_DELIMITERS = ",;\t"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class FileNotReadable(DomainError):
    """The file is neither a table as text nor a workbook."""

    code = "import.file_not_readable"


class NoTable(FileNotReadable):
    """The file holds no text, such as a picture."""

    code = "import.no_table"


def read_table(content: bytes) -> list[Sequence[Cell]]:
    """
    Return the rows of a file; of a workbook, those of its first sheet.

    Text is UTF-8, or else GB18030; what its first line has most of separates the cells.

    Raises:
        FileNotReadable: it is broken.
        NoTable: it is something else, such as a picture.
    """
    try:
        if content.startswith(_WORKBOOKS):
            sheet = CalamineWorkbook.from_filelike(BytesIO(content)).get_sheet_by_index(0)
            return [tuple(row) for row in sheet.to_python(skip_empty_area=False)]
        if b"\0" in content or content.startswith(_PICTURES):
            raise NoTable
        text = _decode(content)
        delimiter = max(_DELIMITERS, key=text.partition("\n")[0].count)
        return [tuple(row) for row in csv.reader(StringIO(text), delimiter=delimiter, strict=True)]
    except UnicodeDecodeError as error:
        raise NoTable from error
    except (CalamineError, csv.Error) as error:
        raise FileNotReadable(reason=str(error)) from error


def _decode(content: bytes) -> str:
    try:
        return content.decode(_ENCODINGS[0])
    except UnicodeDecodeError:
        return content.decode(_ENCODINGS[1])


def write_table(rows: Sequence[Sequence[str]]) -> bytes:
    """Return rows as CSV that spreadsheets open in the right encoding, and without any formula."""
    text = StringIO()
    csv.writer(text).writerows(
        [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row] for row in rows
    )
    return text.getvalue().encode("utf-8-sig")
