"""File names out of mail that are safe on every system, and made-up ones where there is none."""

from __future__ import annotations

import re
import unicodedata
from mimetypes import MimeTypes

MAX_NAME = 150
MAX_EXTENSION = 20

# Without files, so that the answer does not depend on the machine.
_TYPES = MimeTypes(filenames=())
_EXTENSIONS = {
    "message/rfc822": ".eml",
    "message/delivery-status": ".txt",
    "message/disposition-notification": ".txt",
    "text/rfc822-headers": ".txt",
    "text/calendar": ".ics",
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/webp": ".webp",
    "audio/mpeg": ".mp3",
    "application/gzip": ".gz",
    "application/ms-tnef": ".dat",
    "application/octet-stream": ".bin",
}
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f-\x9f]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)


def safe_name(name: str) -> str:
    """`name` reduced to what may be a file name everywhere, at most MAX_NAME characters; "" when nothing is left."""
    if name.isascii() and name.isalnum():
        return _unreserved(name[:MAX_NAME])
    name = re.split(r"[/\\]", name.rstrip("/\\ ")[-4096:])[-1]
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name))
    # Format characters are invisible and can show "exe.pdf" for "fdp.exe"; separators are line breaks in disguise.
    name = "".join(char for char in name if unicodedata.category(char) not in ("Cf", "Cs", "Zl", "Zp"))
    return _unreserved(_shortened(name.strip(" .")))


def _unreserved(name: str) -> str:
    return f"_{name}"[:MAX_NAME] if _RESERVED.match(name) else name


def _shortened(name: str) -> str:
    if len(name) <= MAX_NAME:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > MAX_EXTENSION:
        return name[:MAX_NAME].rstrip(" .")
    return stem[: MAX_NAME - len(extension) - 1].rstrip(" .") + dot + extension


def made_up_name(content_type: str, number: int) -> str:
    """`attachment-1.pdf` and the like: the name of the `number`th attachment when the mail gives none."""
    return f"attachment-{number}{extension_for(content_type)}"


def extension_for(content_type: str) -> str:
    """The usual extension of a media type with its dot, ".bin" when there is none."""
    return _EXTENSIONS.get(content_type) or _TYPES.guess_extension(content_type) or ".bin"
