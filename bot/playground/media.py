"""Files: how they come in, what Telegram makes of them, and how a bot gets them back."""

import mimetypes
import secrets
import struct
from typing import Final
from urllib.parse import quote

from bot.playground.account import Account
from bot.playground.params import Json, Params, Upload
from bot.playground.refusals import Refusal

MEGABYTE: Final = 1024 * 1024
UPLOAD_BYTES: Final = 50 * MEGABYTE
PHOTO_BYTES: Final = 10 * MEGABYTE
DOWNLOAD_BYTES: Final = 20 * MEGABYTE
FRAME_HEADERS: Final = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # of a JPEG
SIDES: Final = 10_000
RATIO: Final = 20
SIZES: Final = (("s", 90), ("m", 320), ("x", 800), ("y", 1280))
PREFIXES: Final = {"photo": "AgAC", "document": "BQAC", "video": "BAAC", "voice": "AwAC"}
WRONG_ID: Final = "wrong file_id or the file is temporarily unavailable"


def image_size(content: bytes) -> tuple[int, int] | None:
    """Read width and height from the head of a PNG, GIF, WebP or JPEG; None for anything else."""
    try:
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack(">II", content[16:24])
            return width, height
        if content[:6] in {b"GIF87a", b"GIF89a"}:
            width, height = struct.unpack("<HH", content[6:10])
            return width, height
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            return _webp_size(content)
        return _jpeg_size(content) if content.startswith(b"\xff\xd8") else None
    except (struct.error, IndexError):
        return None


def _webp_size(content: bytes) -> tuple[int, int] | None:
    match content[12:16]:
        case b"VP8 ":
            width, height = struct.unpack("<HH", content[26:30])
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack("<I", content[21:25])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            width = int.from_bytes(content[24:27], "little") + 1
            return width, int.from_bytes(content[27:30], "little") + 1
    return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    at = 2
    while content[at] == 0xFF:  # noqa: PLR2004 - every JPEG segment begins so
        marker = content[at + 1]
        (length,) = struct.unpack(">H", content[at + 2 : at + 4])
        if marker in FRAME_HEADERS:
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None


def take_in(account: Account, kind: str, upload: Upload) -> Json:
    """Keep a file and describe it as the field of a message, for example `{"photo": [...]}`."""
    if not upload.content:
        raise Refusal("file must be non-empty")
    if len(upload.content) > UPLOAD_BYTES:
        raise Refusal("Request Entity Too Large", code=413)
    unique = secrets.token_hex(8)
    file: Json = {"unique": unique, "kind": kind, "size": len(upload.content)}
    if kind == "photo":
        file |= _photo_facts(upload.content)
    else:
        known = upload.media_type not in {"", "application/octet-stream"}
        guessed = mimetypes.guess_type(upload.name)[0] or "application/octet-stream"
        media_type = upload.media_type.split(";")[0] if known else guessed
        file |= {"name": upload.name or "file", "mime": media_type}
    account.store.put("file", unique, file)
    account.store.keep_content(unique, upload.content)
    return describe(account, file)


def _photo_facts(content: bytes) -> Json:
    if len(content) > PHOTO_BYTES:
        raise Refusal(f"file of size {len(content)} bytes is too big for a photo")
    size = image_size(content)
    if size is None:
        raise Refusal("IMAGE_PROCESS_FAILED")
    width, height = size
    if min(size) == 0 or width + height > SIDES or max(size) > RATIO * min(size):
        raise Refusal("PHOTO_INVALID_DIMENSIONS")
    mime = "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"
    mime = {b"GIF8": "image/gif", b"RIFF": "image/webp"}.get(content[:4], mime)
    return {"width": width, "height": height, "name": "photo.jpg", "mime": mime}


def describe(account: Account, file: Json) -> Json:
    """Describe a kept file as the field of a message."""
    kind, unique = file["kind"], file["unique"]
    file_id = f"{PREFIXES[kind]}{account.profile.id}-{unique}"
    base: Json = {"file_id": file_id, "file_unique_id": unique, "file_size": file["size"]}
    if kind == "photo":
        return {"photo": _photo_sizes(base, file["width"], file["height"])}
    base["mime_type"] = file["mime"]
    if kind == "voice":
        return {"voice": {**base, "duration": 1}}
    base["file_name"] = file["name"]
    if kind == "video":
        return {"video": {**base, "duration": 1, "width": 640, "height": 360}}
    return {"document": base}


def _photo_sizes(base: Json, width: int, height: int) -> list[Json]:
    """Name two to four sizes, the largest last; the same bytes stand behind all of them."""
    longest = max(width, height)
    letters = [(letter, side) for letter, side in SIZES if side < longest][:3] or [SIZES[0]]
    letters.append(("w", min(longest, SIZES[-1][1])))
    return [
        base
        | {
            "file_id": base["file_id"] + letter,
            "file_unique_id": base["file_unique_id"] + letter,
            "width": max(1, width * min(side, longest) // longest),
            "height": max(1, height * min(side, longest) // longest),
        }
        for letter, side in letters
    ]


def find_file(account: Account, file_id: str) -> Json | None:
    """Find a kept file by the id that this bot was given."""
    prefix, _, unique = file_id.partition("-")
    file = file_by_unique_id(account, unique)
    if file is None or prefix != f"{PREFIXES[file['kind']]}{account.profile.id}":
        return None
    return file


def file_by_unique_id(account: Account, unique: str) -> Json | None:
    """Find a kept file by the id that compares only; a photo has one for each size."""
    found: Json | None = account.store.get("file", unique[:16])
    return found


def from_params(account: Account, params: Params, kind: str, *, source: str | None = None) -> Json:
    """Take a file from a call: uploaded, attached under another name, or sent before."""
    given = source if source is not None else params.text(kind)
    upload = params.uploads.get(given.removeprefix("attach://") or kind)
    if upload is not None:
        return take_in(account, kind, upload)
    if not given or given.startswith("attach://"):
        raise Refusal(f"there is no {kind} in the request")
    if given.startswith(("http://", "https://")):
        raise Refusal("failed to get HTTP URL content")
    file = find_file(account, given)
    if file is None:
        raise Refusal("wrong remote file identifier specified: can't unserialize it. Wrong string")
    if (file["kind"] == "photo") != (kind == "photo"):
        shown = {"photo": "Photo", "document": "Document"}
        wanted, found = shown.get(kind, kind.title()), shown.get(file["kind"], file["kind"].title())
        raise Refusal(f"can't use file of type {found} as {wanted}")
    return describe(account, file | {"kind": kind})


def get_file(account: Account, params: Params) -> Json:
    """Answer getFile."""
    file_id = params.text("file_id")
    if not file_id:
        raise Refusal("file_id not specified")
    file = find_file(account, file_id)
    if file is None or account.store.content(file["unique"]) is None:
        raise Refusal(WRONG_ID)
    if file["size"] > DOWNLOAD_BYTES:
        raise Refusal("file is too big")
    unique = file_id.partition("-")[2]
    return {
        "file_id": file_id,
        "file_unique_id": unique,
        "file_size": file["size"],
        "file_path": file_path(file),
    }


def file_path(file: Json) -> str:
    """Build the path under which a bot downloads a file."""
    suffix = "." + file["name"].rpartition(".")[2] if "." in file["name"] else ""
    return f"{file['kind']}s/file_{file['unique']}{suffix}"


def content_by_path(account: Account, path: str) -> tuple[Json, bytes] | None:
    """Find the file that lies at a download path."""
    unique = path.rpartition("/file_")[2].partition(".")[0]
    file = file_by_unique_id(account, unique)
    content = None if file is None else account.store.content(file["unique"])
    if file is None or content is None or path != file_path(file):
        return None
    return file, content


def attachment(name: str) -> str:
    """Build the header that makes a browser save a file instead of showing it."""
    return f"attachment; filename*=UTF-8''{quote(name)}"


METHODS = {"getfile": get_file}
