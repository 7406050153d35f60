"""A response, as a handler makes it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Self, TypeAlias

from ._headers import FieldsArgument, Headers, headers_of, join_fields
from ._response_content import Content, FileContent, Streamed, check_content, type_of
from ._response_head import ResponseHead, make_head

__all__ = ["Response", "Trailers", "asks_to_close", "is_streamed", "parts_of", "trailers_of"]

Trailers: TypeAlias = Callable[[], FieldsArgument]


class Response:
    """A response to an ordinary request, or one that declines an upgrade.

    The server adds `Content-Length` or chunks, `Date` and `Connection: close`. It leaves out the
    content of a response to HEAD, and that of a 204, 205 or 304. A response with bytes, a str or a
    file cannot be changed, and a handler may return it again and again. That saves time if it has
    many fields, which are checked and encoded when it is made.

    Args:
      status: an int from 200 to 999.
      content: bytes; a str, which is sent as UTF-8; an async iterable of bytes; or an async
        context manager that gives one, as a function decorated with `@trio.as_safe_channel` does.
        An iterable is entered only when it is sent, never for HEAD, and is closed when it is done
        or the client is gone: a send has failed, or the client has reset the connection. Then it is
        cancelled where it waits. It is asked for its next item when the transport has taken the last.
        The head goes out with the first item: if making that fails, the client gets a 500. An empty
        first item sends the head at once.
      headers: pairs of a name and a value, str or bytes, or a mapping. With a `Content-Length`, an
        async iterable is sent without chunks, and must have that length.
      content_type: by default `text/plain` for a str, and none for other content. If the content
        is a str and this is a text type without a charset, `charset=utf-8` is added.
      trailers: a function without arguments, for an async iterable alone. It is called after the last
        item, and returns fields, as `headers` takes them, that are sent after the content (RFC 9110
        section 6.5): a checksum, say. They are dropped for a client of HTTP/1.0, for HEAD, and with a
        `Content-Length`. If it returns a field that belongs in the head, such as `Set-Cookie`, the
        response is cut off. By default None: no trailers.

    Raises:
      ValueError: the status is below 200 or over 999; a field has CR, LF, NUL or another invalid
        character; the server sets this field; the `Content-Length` is not that of the bytes; or there
        are trailers, but the content is no async iterable.
      TypeError: an argument has the wrong type.
    """

    __slots__ = ("_content", "_given", "_head", "_headers", "_trailers")

    def __init__(
        self,
        status: int = 200,
        content: Content = b"",
        headers: FieldsArgument = (),
        *,
        content_type: str | None = None,
        trailers: Trailers | None = None,
    ) -> None:
        self._head = make_head(status, headers, content_type, isinstance(content, str))
        self._given: Content | FileContent = content
        self._content: bytes | Streamed | FileContent = check_content(content)
        self._headers: Headers | None = None
        self._trailers = trailers
        if trailers is not None:
            check_trailers(trailers, self._content)
        length = self._head.length
        if length is not None and isinstance(self._content, bytes) and self._content and length != len(self._content):
            raise ValueError(f"Content-Length is {length}, but the content has {len(self._content)} bytes")

    @classmethod
    def file(
        cls,
        path: str | os.PathLike[str],
        status: int = 200,
        headers: FieldsArgument = (),
        *,
        content_type: str | None = None,
    ) -> Self:
        """Make a response with a whole file as its content.

        The file is opened when the response is sent, and its size is sent as the Content-Length. Over
        plain TCP the kernel copies it (`os.sendfile`); otherwise a thread reads it. Ranges and
        conditional requests are left to frameworks.

        Args:
          path: of a regular file.
          status, headers: see `Response`. A Content-Length cannot be given.
          content_type: by default what `mimetypes` says of the file's name, or
            "application/octet-stream".

        Raises:
          OSError: there is no such file (FileNotFoundError, which you may answer with a 404), it is
            a directory, or it is not a regular file.
          TypeError, ValueError: see `Response`.
        """
        content = FileContent(path)
        response = cls(
            status, b"", headers, content_type=type_of(content.path) if content_type is None else content_type
        )
        if response._head.length is not None:
            raise ValueError("the Content-Length of a file is set by the server, not by a handler")
        response._content = response._given = content
        return response

    def __repr__(self) -> str:
        return f"<Response {self.status}>"

    @property
    def status(self) -> int:
        """The status code."""
        return self._head.status

    @property
    def content(self) -> Content | os.PathLike[str]:
        """The content, as it was given; the path of a file."""
        return pathlib.Path(self._given.path) if isinstance(self._given, FileContent) else self._given

    @property
    def headers(self) -> Headers:
        """The fields that were given, and the content type."""
        if self._headers is None:
            self._headers = headers_of(join_fields(self._head.fields))
        return self._headers


def check_trailers(trailers: object, content: object) -> None:
    if not callable(trailers):
        raise TypeError(f"trailers is a function that returns fields, not {trailers!r}")
    if isinstance(content, bytes):
        raise ValueError("only the content of an async iterable has trailers; put the fields into headers")


def trailers_of(response: Response) -> Trailers | None:
    """What makes the trailers of a response, if it has any."""
    return response._trailers


def parts_of(response: Response) -> tuple[ResponseHead, bytes | Streamed | FileContent]:
    """The head and the content of a response, for whoever sends it."""
    return response._head, response._content


def asks_to_close(response: Response) -> bool:
    """The handler gave `Connection: close`."""
    return response._head.asks_to_close


def is_streamed(response: Response) -> bool:
    """Whether its content is made while it is sent."""
    return not isinstance(response._content, (bytes, FileContent))  # a union is slow
