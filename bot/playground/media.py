"""Files: how they come in, what Telegram makes of them, and how a bot gets them back."""

import mimetypes
import re
import secrets
import struct
from typing import Final

from bot.playground.account import Account
from bot.playground.params import Json, Params, Upload
from bot.playground.refusals import Refusal, require

MEGABYTE: Final = 1024 * 1024
UPLOAD_BYTES: Final = 50 * MEGABYTE
PHOTO_BYTES: Final = 10 * MEGABYTE
DOWNLOAD_BYTES: Final = 20 * MEGABYTE
SIDES: Final = 10_000
RATIO: Final = 20
SIZES: Final = (("s", 90), ("m", 320), ("x", 800), ("y", 1280), ("w", 2560))
# A file id is a prefix for the kind, the unique id and, for a photo, the letter of a size.
PREFIXES: Final = {"photo": "AgAC", "document": "BQAC", "video": "BAAC", "voice": "AwAC"}
ID_LENGTH: Final = 16
ANY_TYPE: Final = "application/octet-stream"
# How images begin, with width and height in the groups; their byte order; what is to be added.
HEADS: Final = (
    ("image/png", rb"\x89PNG\r\n\x1a\n.{8}(.{4})(.{4})", "big", 0),
    ("image/gif", rb"GIF8[79]a(..)(..)", "little", 0),
    ("image/webp", rb"RIFF....WEBPVP8 .{10}(..)(..)", "little", 0),
    ("image/webp", rb"RIFF....WEBPVP8X.{8}(...)(...)", "little", 1),
)


def _image_facts(content: bytes) -> Json:
    """Read type, width and height from the head of an image; nothing from anything else."""
    for mime, pattern, order, more in HEADS:
        if match := re.match(pattern, content, re.DOTALL):
            width, height = (int.from_bytes(side, order) + more for side in match.groups())  # type: ignore[arg-type] # both orders are literals
            return {"mime": mime, "width": width, "height": height}
    if match := re.match(rb"RIFF....WEBPVP8L....\x2f(.{4})", content, re.DOTALL):
        bits = int.from_bytes(match[1], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        return {"mime": "image/webp", "width": width, "height": height}
    return _jpeg_facts(content) if content.startswith(b"\xff\xd8") else {}


def _jpeg_facts(content: bytes) -> Json:
    """Walk over the segments of a JPEG to the frame header, which holds the size."""
    frame_headers = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
    at = 2
    while content[at : at + 1] == b"\xff" and len(content) >= at + 9:
        marker, length, height, width = struct.unpack(">xBHxHH", content[at : at + 9])
        if marker in frame_headers:
            return {"mime": "image/jpeg", "width": width, "height": height}
        at += 2 + length
    return {}


def take_in(account: Account, kind: str, upload: Upload) -> Json:
    """Keep a file and describe it as the field of a message, for example `{"photo": [...]}`."""
    size = len(upload.content)
    require(size, "file must be non-empty")
    require(size <= UPLOAD_BYTES, "Request Entity Too Large", code=413)
    file: Json = {"unique": secrets.token_hex(ID_LENGTH // 2), "kind": kind, "size": size}
    if kind == "photo":
        require(size <= PHOTO_BYTES, f"file of size {size} bytes is too big for a photo")
        facts = _image_facts(upload.content)
        require(facts, "IMAGE_PROCESS_FAILED")
        sides = facts["width"], facts["height"]
        fits = 0 < max(sides) <= RATIO * min(sides) and sum(sides) <= SIDES
        require(fits, "PHOTO_INVALID_DIMENSIONS")
        file |= facts | {"name": "photo.jpg"}
    else:
        told = upload.media_type.partition(";")[0]
        guessed = mimetypes.guess_type(upload.name)[0] or ANY_TYPE
        mime = guessed if told in {"", ANY_TYPE} else told
        file |= {"name": upload.name or "file", "mime": mime}
    account.store.put("file", file["unique"], file)
    account.store.keep_content(file["unique"], upload.content)
    return _describe(file)


def _describe(file: Json) -> Json:
    """Describe a kept file as the field of a message."""
    kind = file["kind"]
    base: Json = {
        "file_id": PREFIXES[kind] + file["unique"],
        "file_unique_id": file["unique"],
        "file_size": file["size"],
    }
    if kind == "photo":
        return {kind: _photo_sizes(base, file["width"], file["height"])}
    extra: Json = {"mime_type": file["mime"]}
    if kind != "voice":
        extra["file_name"] = file["name"]
    if kind != "document":
        extra["duration"] = 1
    if kind == "video":
        extra |= {"width": 640, "height": 360}
    return {kind: base | extra}


def _photo_sizes(base: Json, width: int, height: int) -> list[Json]:
    """Name two to four sizes, the largest last; the same bytes stand behind all of them."""
    longest = max(width, height)
    smaller = [(letter, side) for letter, side in SIZES[:-1] if side < longest][:3]
    letter, largest = SIZES[-1]
    return [
        base
        | {
            "file_id": base["file_id"] + letter,
            "file_unique_id": base["file_unique_id"] + letter,
            "width": max(1, width * min(side, longest) // longest),
            "height": max(1, height * min(side, longest) // longest),
        }
        for letter, side in [*(smaller or SIZES[:1]), (letter, largest)]
    ]


def find_file(account: Account, unique_id: str) -> tuple[Json, bytes] | None:
    """Find a kept file with its bytes by its unique id; a photo has one for each size."""
    unique = unique_id[:ID_LENGTH]
    file: Json | None = account.store.get("file", unique)
    content = account.store.content(unique)
    return None if file is None or content is None else (file, content)


def from_params(account: Account, params: Params, kind: str, *, source: str) -> Json:
    """Take a file from a call: uploaded, attached under another name, or sent before."""
    upload = params.uploads.get(source.removeprefix("attach://") or kind)
    if upload is not None:
        return take_in(account, kind, upload)
    missing = not source or source.startswith("attach://")
    require(not missing, f"there is no {kind} in the request")
    is_url = source.startswith(("http://", "https://"))
    require(not is_url, "failed to get HTTP URL content")
    found = find_file(account, source[len(PREFIXES[kind]) :])
    if found is None:
        raise Refusal("wrong remote file identifier specified: can't unserialize it. Wrong string")
    was = found[0]["kind"]
    fits = (was == "photo") == (kind == "photo")
    require(fits, f"can't use file of type {was.title()} as {kind.title()}")
    return _describe(found[0] | {"kind": kind})


def get_file(account: Account, params: Params) -> Json:
    """Answer getFile."""
    file_id = params.text("file_id")
    require(file_id, "file_id not specified")
    unique_id = file_id[len(PREFIXES["photo"]) :]
    found = find_file(account, unique_id)
    if found is None:
        raise Refusal("wrong file_id or the file is temporarily unavailable")
    file, _ = found
    require(file["size"] <= DOWNLOAD_BYTES, "file is too big")
    suffix = "." + file["name"].rpartition(".")[2] if "." in file["name"] else ""
    return {
        "file_id": file_id,
        "file_unique_id": unique_id,
        "file_size": file["size"],
        "file_path": f"{file['kind']}s/file_{file['unique']}{suffix}",
    }
