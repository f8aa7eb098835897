"""Browser forms (multipart/form-data, RFC 7578), parsed while they stream in.

python-multipart calls back; files go straight into receivers, so nothing is
held whole and no temporary file is written. Text fields may stand before or
after the files. Everything is limited.
"""

from collections.abc import Callable
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from materials_api.errors import FormInvalid, FormTooLarge
from materials_api.room import MaterialsRoom
from materials_api.uploads.incoming import Received, Receiver, discard
from storage.errors import EmptyObject, ObjectTooLarge


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of the form that is durable: its name as sent, and what was received."""

    name: str
    received: Received


@dataclass(frozen=True, slots=True)
class Form:
    """The text fields, and the files that came under `file` in order."""

    fields: dict[str, str]
    files: tuple[FormFile, ...]


class FormReceiver:
    """Takes the body in blocks, in one worker thread at a time.

    `finish` or `abort` ends it. After any error everything that was stored is
    removed again. Raises `FormInvalid`, `FormTooLarge`, and what a receiver
    raises.
    """

    def __init__(self, room: MaterialsRoom, content_type: str | None) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 70:
            raise FormInvalid(problem="multipart/form-data")
        self._room = room
        self._limits = room.limits
        self._left = room.limits.upload_bytes  # for all files together
        self._fields: dict[str, str] = {}
        self._files: list[FormFile] = []
        self._parts = 0
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = ""
        self._name = ""
        self._file_name: str | None = None
        self._text = bytearray()
        self._receiver: Receiver | None = None
        self._received = 0
        self._ended = False
        data: Callable[[bytes, int, int], None] = self._on_data
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part,
                "on_header_begin": self._on_header,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_size=room.limits.form_header_bytes,
        )

    def write(self, block: bytes | bytearray) -> None:
        """Any number of bytes of the body."""
        try:
            self._parser.write(bytes(block))
        except FormParserError as error:
            self.abort()
            raise FormInvalid(problem="multipart") from error
        except BaseException:
            self.abort()
            raise

    def finish(self) -> Form:
        """The whole form. A body that ends before its last boundary is `FormInvalid`."""
        if not self._ended:
            self.abort()
            raise FormInvalid(problem="truncated")
        return Form(self._fields, tuple(self._files))

    def abort(self) -> None:
        """Give up, and remove what is already durable."""
        if self._receiver is not None:
            self._receiver.abort()
            self._receiver = None
        for file in self._files:
            discard(self._room, file.received.stored)
        self._files.clear()

    def _on_part(self) -> None:
        self._parts += 1
        if self._parts > self._limits.form_fields + self._limits.files_per_material:
            raise FormTooLarge()
        self._disposition = ""

    def _on_header(self) -> None:
        self._header.clear()
        self._value.clear()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            # As bytes in Latin-1, because browsers send UTF-8 and the parser wants text.
            self._disposition = self._value.decode("latin-1")

    def _on_headers(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise FormInvalid(problem="content-disposition")
        self._name = _utf8(name)
        file_name = options.get(b"filename")
        self._file_name = None if file_name is None else _utf8(file_name)
        self._text.clear()
        self._received = 0
        if self._file_name is None:
            if self._name in self._fields or len(self._fields) >= self._limits.form_fields:
                raise FormInvalid(problem="field twice, or too many")
            return
        if self._name != "file":
            raise FormInvalid(problem="files stand under the name file")
        if len(self._files) >= self._limits.files_per_material:
            raise FormTooLarge()

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._file_name is None:
            self._text += data[start:end]
            if len(self._text) > self._limits.form_field_bytes:
                raise FormTooLarge()
            return
        self._received += end - start
        if self._received > self._left:
            raise ObjectTooLarge(limit=self._limits.upload_bytes)
        if self._receiver is None:
            self._receiver = Receiver(self._room, self._limits.upload_bytes)
        self._receiver.write(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        if self._file_name is None:
            self._fields[self._name] = _utf8(bytes(self._text))
        elif self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            self._files.append(FormFile(self._file_name, receiver.finish()))
            self._left -= self._received
        elif self._file_name:
            raise EmptyObject()
        # A file field that was left empty has no name and no bytes: as if not there.

    def _on_end(self) -> None:
        self._ended = True


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormInvalid(problem="utf-8") from error
