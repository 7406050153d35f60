"""Requests that two recipients may read differently, and what is to become of each."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACCEPTED", "AFTER", "REFUSED_BODIES", "REFUSED_HEADS", "Accepted"]

# What stands after each of them, and must never be taken for a request.
AFTER = b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n"

CHUNKED = b"Transfer-Encoding: chunked\r\n"
END = b"0\r\n\r\n"  # of a chunked body
ONE = b"1\r\nx\r\n"  # a chunk


def post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST /first HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body


def get(fields: bytes) -> bytes:
    """A request whose Host is among the fields."""
    return b"GET /first HTTP/1.1\r\n" + fields + b"\r\n"


def line(request_line: bytes) -> bytes:
    return request_line + b"\r\nHost: a\r\n\r\n"


def te(field: bytes) -> bytes:
    """A chunked body for those who take the field for Transfer-Encoding."""
    return post(field + b"\r\n", END)


def tete(field: bytes) -> bytes:
    """Chunked for everybody, unless the second field is taken to undo it."""
    return post(CHUNKED + field + b"\r\n", END)


def cl(field: bytes) -> bytes:
    """A body of one byte for those who understand the length."""
    return post(field + b"\r\n", b"x")


def chunks(coded: bytes) -> bytes:
    return post(CHUNKED, coded)


def trailers(section: bytes) -> bytes:
    return post(CHUNKED, ONE + b"0\r\n" + section + b"\r\n")


BOTH = {
    "CL.TE": post(b"Content-Length: 5\r\n" + CHUNKED, END),
    "CL.TE with the length of all that follows": post(b"Content-Length: 38\r\n" + CHUNKED, END),
    "CL.TE with a length of 0": post(b"Content-Length: 0\r\n" + CHUNKED, END),
    "TE.CL": post(CHUNKED + b"Content-Length: 4\r\n", b"21\r\n" + AFTER + b"\r\n" + END),
    "TE.CL with a length of 0": post(CHUNKED + b"Content-Length: 0\r\n", END),
    "CL.TE.CL": post(b"Content-Length: 5\r\n" + CHUNKED + b"Content-Length: 5\r\n", END),
    "CL.TE in mixed case": post(b"cONTENT-lENGTH: 5\r\ntRANSFER-eNCODING: cHUNKED\r\n", END),
    "CL.TE that agree": post(b"Content-Length: 5\r\n" + CHUNKED + b"Connection: close\r\n", END),
    "CL.TE on GET": b"GET /first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + CHUNKED + b"\r\n" + END,
    "CL.TE with a bad length": post(b"Content-Length: x\r\n" + CHUNKED, END),
    "CL.TE, Content-Length nominated in Connection": post(
        b"Connection: Content-Length\r\nContent-Length: 5\r\n" + CHUNKED, END
    ),
    "CL.TE, Transfer-Encoding nominated in Connection": post(
        b"Connection: Transfer-Encoding\r\nContent-Length: 5\r\n" + CHUNKED, END
    ),
    "CL.TE in HTTP/1.0": b"POST /first HTTP/1.0\r\nContent-Length: 5\r\n" + CHUNKED + b"\r\n" + END,
    "TE in HTTP/1.0": b"POST /first HTTP/1.0\r\nHost: a\r\n" + CHUNKED + b"\r\n" + END,
    "TE in HTTP/1.0 with keep-alive": (
        b"POST /first HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n" + CHUNKED + b"\r\n" + END
    ),
    "CONNECT with a length": b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 0\r\n\r\n",
    "CONNECT with chunks": b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n" + CHUNKED + b"\r\n" + END,
}

# The last coding is chunked, and what is in front of it is not spoken here.
UNKNOWN_CODINGS = {
    "gzip, then chunked": te(b"Transfer-Encoding: gzip, chunked"),
    "identity, then chunked": te(b"Transfer-Encoding: identity, chunked"),
    "chunked twice": te(b"Transfer-Encoding: chunked, chunked"),
    "chunked, and nothing": te(b"Transfer-Encoding: chunked,"),
    "nothing, and chunked": te(b"Transfer-Encoding: ,chunked"),
    "the field twice": tete(b"Transfer-Encoding: chunked"),
    "the field twice in another case": tete(b"transfer-encoding: chunked"),
    "the field twice, nothing after": tete(b"Transfer-Encoding:"),
    "the field twice, gzip in front": post(b"Transfer-Encoding: gzip\r\n" + CHUNKED, END),
    "the field three times": post(CHUNKED * 3, END),
}

# The last coding is not chunked: nobody knows where the body ends.
ENDLESS_CODINGS = {
    "identity": te(b"Transfer-Encoding: identity"),
    "gzip": te(b"Transfer-Encoding: gzip"),
    "chunked, then gzip": te(b"Transfer-Encoding: chunked, gzip"),
    "chunked, then identity": te(b"Transfer-Encoding: chunked, identity"),
    "chunked without its comma": te(b"Transfer-Encoding: chunked identity"),
    "xchunked": te(b"Transfer-Encoding: xchunked"),
    "chunkedx": te(b"Transfer-Encoding: chunkedx"),
    "chunk": te(b"Transfer-Encoding: chunk"),
    "quoted": te(b'Transfer-Encoding: "chunked"'),
    "in single quotes": te(b"Transfer-Encoding: 'chunked'"),
    "in brackets": te(b"Transfer-Encoding: (chunked)"),
    "with a parameter": te(b"Transfer-Encoding: chunked;q=1"),
    "with an empty parameter": te(b"Transfer-Encoding: chunked;"),
    "after a colon": te(b"Transfer-Encoding: : chunked"),
    "after an equals sign": te(b"Transfer-Encoding: =chunked"),
    "an empty value": te(b"Transfer-Encoding:"),
    "white space for a value": te(b"Transfer-Encoding: \t "),
    "a no-break space in front": te(b"Transfer-Encoding: \xa0chunked"),
    "a no-break space after": te(b"Transfer-Encoding: chunked\xa0"),
    "NEL after": te(b"Transfer-Encoding: chunked\x85"),
    "a byte order mark in front": te(b"Transfer-Encoding: \xef\xbb\xbfchunked"),
    "a Kelvin sign for the k": te("Transfer-Encoding: chun\u212aed".encode()),
    "full-width letters": te("Transfer-Encoding: \uff43\uff48unked".encode()),
    "a length and an unknown coding": post(b"Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n", END),
    "an unknown coding and a length": post(b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n", END),
    "a length and a quoted coding": post(b'Content-Length: 5\r\nTransfer-Encoding: "chunked"\r\n', END),
    "the field twice, identity after": tete(b"Transfer-Encoding: identity"),
    "the field twice, an unknown coding after": tete(b"Transfer-Encoding: x"),
    "identity in HTTP/1.0": b"POST /first HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n",
}

# The field's name, or characters that no field may have.
TRANSFER_ENCODING = {
    "a space before the colon": te(b"Transfer-Encoding : chunked"),
    "a tab before the colon": te(b"Transfer-Encoding\t: chunked"),
    "spaces before the colon": te(b"Transfer-Encoding  : chunked"),
    "a space before the name": te(b" Transfer-Encoding: chunked"),
    "a tab before the name": te(b"\tTransfer-Encoding: chunked"),
    "a space in the name": te(b"Transfer Encoding: chunked"),
    "a quoted name": te(b'"Transfer-Encoding": chunked'),
    "no colon": te(b"Transfer-Encoding chunked"),
    "an equals sign for the colon": te(b"Transfer-Encoding= chunked"),
    "a semicolon for the colon": te(b"Transfer-Encoding; chunked"),
    "a slash in the name": te(b"Transfer/Encoding: chunked"),
    "CR before the colon": te(b"Transfer-Encoding\r: chunked"),
    "CR after the colon": te(b"Transfer-Encoding:\rchunked"),
    "CR after the value": te(b"Transfer-Encoding: chunked\r"),
    "CR in the value": te(b"Transfer-Encoding: chun\rked"),
    "CR for the line's end": te(b"X: y\rTransfer-Encoding: chunked"),
    "LF for the line's end": te(b"X: y\nTransfer-Encoding: chunked"),
    "LF after the colon": te(b"Transfer-Encoding:\nchunked"),
    "LF after the value": post(b"Transfer-Encoding: chunked\n", END),
    "LF and CR for the line's end": te(b"X: y\n\rTransfer-Encoding: chunked"),
    "a fold before the value": te(b"Transfer-Encoding:\r\n chunked"),
    "a fold with a tab before the value": te(b"Transfer-Encoding:\r\n\tchunked"),
    "a fold after the value": te(b"Transfer-Encoding: chunked\r\n "),
    "a fold in the value": te(b"Transfer-Encoding: chunked\r\n , identity"),
    "a fold before the colon": te(b"Transfer-Encoding\r\n : chunked"),
    "the field in another's fold": te(b"X: y\r\n Transfer-Encoding: chunked"),
    "a vertical tab before the value": te(b"Transfer-Encoding: \x0bchunked"),
    "a vertical tab for white space": te(b"Transfer-Encoding:\x0bchunked"),
    "a form feed after the value": te(b"Transfer-Encoding: chunked\x0c"),
    "NUL before the value": te(b"Transfer-Encoding: \0chunked"),
    "NUL after the value": te(b"Transfer-Encoding: chunked\0"),
    "NUL in the name": te(b"Transfer-Encoding\0: chunked"),
    "NUL before the name": te(b"\0Transfer-Encoding: chunked"),
    "backspaces after the value": te(b"Transfer-Encoding: chunkedd\x08"),
    "DEL after the value": te(b"Transfer-Encoding: chunked\x7f"),
    "a unit separator before the value": te(b"Transfer-Encoding:\x1fchunked"),
    "an escape in the name": te(b"Transfer\x1b-Encoding: chunked"),
    "a no-break space in the name": te(b"Transfer-Encoding\xa0: chunked"),
    "a byte order mark before the name": te(b"\xef\xbb\xbfTransfer-Encoding: chunked"),
    "a soft hyphen in the name": te(b"Transfer\xad-Encoding: chunked"),
    "chunked, and a second field with a space before the colon": tete(b"Transfer-Encoding : identity"),
    "chunked, and a second field in a fold": tete(b" Transfer-Encoding: identity"),
    "chunked, and NUL in a second field": tete(b"Transfer-Encoding: identity\0"),
}

CONTENT_LENGTH = {
    "twice, equal": cl(b"Content-Length: 1\r\nContent-Length: 1"),
    "twice, different": cl(b"Content-Length: 1\r\nContent-Length: 2"),
    "twice, and one is 0": cl(b"Content-Length: 0\r\nContent-Length: 1"),
    "twice, with leading zeros": cl(b"Content-Length: 1\r\nContent-Length: 01"),
    "twice, in another case": cl(b"Content-Length: 1\r\ncontent-length: 1"),
    "twice, apart": cl(b"Content-Length: 1\r\nX: y\r\nContent-Length: 1"),
    "three times": cl(b"Content-Length: 1\r\nContent-Length: 1\r\nContent-Length: 1"),
    "a list, equal": cl(b"Content-Length: 1, 1"),
    "a list, different": cl(b"Content-Length: 1, 2"),
    "a list without spaces": cl(b"Content-Length: 1,1"),
    "a list that begins with nothing": cl(b"Content-Length: ,1"),
    "a list that ends with nothing": cl(b"Content-Length: 1,"),
    "a list of nothing": cl(b"Content-Length: ,"),
    "a plus": cl(b"Content-Length: +1"),
    "a minus": cl(b"Content-Length: -1"),
    "minus nothing": cl(b"Content-Length: -0"),
    "a decimal point": cl(b"Content-Length: 1.0"),
    "an exponent": cl(b"Content-Length: 1e0"),
    "hexadecimal": cl(b"Content-Length: 0x1"),
    "a hexadecimal digit": cl(b"Content-Length: a"),
    "octal with an o": cl(b"Content-Length: 0o1"),
    "an underscore": cl(b"Content-Length: 1_0"),
    "a space inside": cl(b"Content-Length: 1 0"),
    "a tab inside": cl(b"Content-Length: 1\t0"),
    "a unit": cl(b"Content-Length: 1 byte"),
    "quoted": cl(b'Content-Length: "1"'),
    "a semicolon": cl(b"Content-Length: 1;"),
    "a colon": cl(b"Content-Length: :1"),
    "empty": cl(b"Content-Length:"),
    "white space": cl(b"Content-Length:  \t"),
    "nonsense": cl(b"Content-Length: one"),
    "Arabic digits": cl("Content-Length: \u0661".encode()),
    "full-width digits": cl("Content-Length: \uff11".encode()),
    "a superscript in latin-1": cl(b"Content-Length: \xb9"),
    "a no-break space": cl(b"Content-Length: \xa01"),
    "NEL after": cl(b"Content-Length: 1\x85"),
    "2**63": cl(b"Content-Length: 9223372036854775808"),
    "2**64 + 1": cl(b"Content-Length: 18446744073709551617"),
    "2**32 + 1 after zeros": cl(b"Content-Length: 00000000000000004294967297"),
    "30 digits": cl(b"Content-Length: " + b"1" * 30),
    "5000 digits": cl(b"Content-Length: " + b"1" * 5_000),
    "a vertical tab": cl(b"Content-Length:\x0b1"),
    "a form feed": cl(b"Content-Length: 1\x0c"),
    "NUL": cl(b"Content-Length: 1\0"),
    "NUL inside": cl(b"Content-Length: 1\x000"),
    "CR": cl(b"Content-Length: 1\r"),
    "CR inside": cl(b"Content-Length: 1\r0"),
    "LF inside": cl(b"Content-Length: 1\n0"),
    "a fold": cl(b"Content-Length:\r\n 1"),
    "a fold inside": cl(b"Content-Length: 1\r\n 0"),
    "in another field's fold": cl(b"X: y\r\n\tContent-Length: 1"),
    "a space before the colon": cl(b"Content-Length : 1"),
    "a tab before the colon": cl(b"Content-Length\t: 1"),
    "a space before the name": cl(b" Content-Length: 1"),
    "a space in the name": cl(b"Content Length: 1"),
    "no colon": cl(b"Content-Length 1"),
    "NUL in the name": cl(b"Content-Length\0: 1"),
    "a proper one, and one with a space before the colon": cl(b"Content-Length: 1\r\nContent-Length : 2"),
    "in HTTP/1.0, twice": b"POST /first HTTP/1.0\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
}

FIELDS = {
    "a fold with a space": get(b"Host: a\r\nX: y\r\n z\r\n"),
    "a fold with a tab": get(b"Host: a\r\nX: y\r\n\tz\r\n"),
    "an empty fold": get(b"Host: a\r\nX: y\r\n \r\n"),
    "a fold of the Host": get(b"Host:\r\n a\r\n"),
    "a fold that hides a Host": get(b"X: y\r\n Host: a\r\nHost: b\r\n"),
    "a fold after the request line": get(b" X: y\r\nHost: a\r\n"),
    "a fold at the end": get(b"Host: a\r\n\t\r\n"),
    "CR in a value": get(b"Host: a\r\nX: y\rz\r\n"),
    "CR at a value's end": get(b"Host: a\r\nX: y\r\r\n"),
    "CR for a line's end": get(b"Host: a\rX: y\r\n"),
    "CR for a line": get(b"Host: a\r\n\r\r\n"),
    "CR, CR, LF at the head's end": b"GET /first HTTP/1.1\r\nHost: a\r\r\n\r\r\n",
    "LF in a value": get(b"Host: a\r\nX: y\nZ: z\r\n"),
    "LF at a line's end": b"GET /first HTTP/1.1\r\nHost: a\r\nX: y\n\r\n",
    "LF at the request line's end": b"GET /first HTTP/1.1\nHost: a\r\n\r\n",
    "LF at the head's end": b"GET /first HTTP/1.1\r\nHost: a\r\n\n",
    "LFs only": b"GET /first HTTP/1.1\nHost: a\n\n",
    "LF and CR at the head's end": b"GET /first HTTP/1.1\r\nHost: a\n\r\n\r",
    "NUL in a value": get(b"Host: a\r\nX: \0\r\n"),
    "NUL in a name": get(b"Host: a\r\nX\0: y\r\n"),
    "NUL for a line": get(b"Host: a\r\n\0\r\n"),
    "an escape in a value": get(b"Host: a\r\nX: \x1b[1m\r\n"),
    "DEL in a value": get(b"Host: a\r\nX: \x7f\r\n"),
    "a space before the colon": get(b"Host: a\r\nX : y\r\n"),
    "a tab before the colon": get(b"Host: a\r\nX\t: y\r\n"),
    "a space in a name": get(b"Host: a\r\nX Y: z\r\n"),
    "an empty name": get(b"Host: a\r\n: y\r\n"),
    "a colon alone": get(b"Host: a\r\n:\r\n"),
    "a space for a name": get(b"X: y\r\nHost: a\r\n : y\r\n"),
    "no colon": get(b"Host: a\r\nX\r\n"),
    "a name in brackets": get(b"Host: a\r\n[X]: y\r\n"),
    "a name with @": get(b"Host: a\r\nX@y: z\r\n"),
    "a name with a comma": get(b"Host: a\r\nX,Y: z\r\n"),
    "a name in UTF-8": get(b"Host: a\r\n\xc3\xa9: y\r\n"),
    "a request line for a field": get(b"Host: a\r\nGET /inside HTTP/1.1\r\n"),
}

LARGE = {
    "a field that is too large": (get(b"Host: a\r\nX: " + b"y" * 17_000 + b"\r\n"), 431),
    "a target that is too long": (line(b"GET /" + b"x" * 17_000 + b" HTTP/1.1"), 414),
    "too many fields": (get(b"Host: a\r\n" + b"X: y\r\n" * 101), 431),
}

HOST = {
    "none": get(b"X: y\r\n"),
    "no field at all": get(b""),
    "none, with an absolute target": b"GET http://a/first HTTP/1.1\r\nX: y\r\n\r\n",
    "two, equal": get(b"Host: a\r\nHost: a\r\n"),
    "two, different": get(b"Host: a\r\nHost: b\r\n"),
    "two, one empty": get(b"Host: a\r\nHost:\r\n"),
    "two, in another case": get(b"Host: a\r\nhOST: b\r\n"),
    "two in HTTP/1.0": b"GET /first HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "two, with an absolute target": b"GET http://a/first HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a user": get(b"Host: user@a\r\n"),
    "a user and a password": get(b"Host: user:secret@a\r\n"),
    "a space": get(b"Host: a b\r\n"),
    "a tab": get(b"Host: a\tb\r\n"),
    "a path": get(b"Host: a/b\r\n"),
    "a slash": get(b"Host: a/\r\n"),
    "a backslash": get(b"Host: a\\b\r\n"),
    "a query": get(b"Host: a?b\r\n"),
    "a fragment": get(b"Host: a#b\r\n"),
    "a scheme": get(b"Host: http://a\r\n"),
    "a list": get(b"Host: a, b\r\n"),
    "a list without a space": get(b"Host: a,b\r\n"),
    "a port that is a name": get(b"Host: a:http\r\n"),
    "a port below zero": get(b"Host: a:-1\r\n"),
    "a port with a plus": get(b"Host: a:+80\r\n"),
    "a space before the port": get(b"Host: a: 80\r\n"),
    "two ports": get(b"Host: a:80:81\r\n"),
    "a port with a path": get(b"Host: a:80/b\r\n"),
    "a port alone": get(b"Host: :80\r\n"),
    "an address without brackets": get(b"Host: ::1\r\n"),
    "an address without its end": get(b"Host: [::1\r\n"),
    "text after an address": get(b"Host: [::1]a\r\n"),
    "empty brackets": get(b"Host: []\r\n"),
    "brackets around no address": get(b"Host: [::::]\r\n"),
    "brackets around a dot": get(b"Host: [.]\r\n"),
    "brackets around an IPv4 address": get(b"Host: [127.0.0.1]\r\n"),
    "brackets around no address, in an absolute target": line(b"GET http://[1]/first HTTP/1.1"),
    "quoted": get(b'Host: "a"\r\n'),
    "half a percent code": get(b"Host: a%2\r\n"),
    "latin-1": get(b"Host: caf\xe9\r\n"),
    "UTF-8": get("Host: caf\u00e9\r\n".encode()),
    "NUL": get(b"Host: a\0b\r\n"),
    "a space before the colon": get(b"Host : a\r\n"),
    "a bad one in HTTP/1.0": b"GET /first HTTP/1.0\r\nHost: a b\r\n\r\n",
}

VERSIONS = {
    "HTTP/0.9": (b"GET /first\r\n", 400),
    "HTTP/0.9 and a blank line": (b"GET /first\r\n\r\n", 400),
    "a space and no version": (line(b"GET /first "), 400),
    "HTTP/0.9, said": (line(b"GET /first HTTP/0.9"), 505),
    "HTTP/1.2": (line(b"GET /first HTTP/1.2"), 505),
    "HTTP/1.9": (line(b"GET /first HTTP/1.9"), 505),
    "HTTP/2.0": (line(b"GET /first HTTP/2.0"), 505),
    "HTTP/2.0 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/3.0": (line(b"GET /first HTTP/3.0"), 505),
    "HTTP/9.9": (line(b"GET /first HTTP/9.9"), 505),
    "HTTP/2": (line(b"GET /first HTTP/2"), 400),
    "HTTP/3": (line(b"GET /first HTTP/3"), 400),
    "HTTP/1": (line(b"GET /first HTTP/1"), 400),
    "HTTP/1.": (line(b"GET /first HTTP/1."), 400),
    "HTTP/1.10": (line(b"GET /first HTTP/1.10"), 400),
    "HTTP/01.1": (line(b"GET /first HTTP/01.1"), 400),
    "HTTP/1.1.1": (line(b"GET /first HTTP/1.1.1"), 400),
    "HTTP/1,1": (line(b"GET /first HTTP/1,1"), 400),
    "HTTP/-1.1": (line(b"GET /first HTTP/-1.1"), 400),
    "HTTP 1.1": (line(b"GET /first HTTP 1.1"), 400),
    "HTTP/ 1.1": (line(b"GET /first HTTP/ 1.1"), 400),
    "HTTP/x.y": (line(b"GET /first HTTP/x.y"), 400),
    "http/1.1": (line(b"GET /first http/1.1"), 400),
    "Http/1.1": (line(b"GET /first Http/1.1"), 400),
    "HTTPS/1.1": (line(b"GET /first HTTPS/1.1"), 400),
    "RTSP/1.0": (line(b"GET /first RTSP/1.0"), 400),
    "HTTP/1.1 and a space": (line(b"GET /first HTTP/1.1 "), 400),
    "HTTP/1.1 and a tab": (line(b"GET /first HTTP/1.1\t"), 400),
    "HTTP/1.1 and more": (line(b"GET /first HTTP/1.1 x"), 400),
    "HTTP/1.1 twice": (line(b"GET /first HTTP/1.1 HTTP/1.1"), 400),
    "Arabic digits": (line("GET /first HTTP/\u0661.\u0661".encode()), 400),
}

REQUEST_LINES = {
    "a space in front": line(b" GET /first HTTP/1.1"),
    "LF in front": b"\n" + line(b"GET /first HTTP/1.1"),
    "CR in front": b"\r" + line(b"GET /first HTTP/1.1"),
    "two empty lines in front": b"\r\n\r\n" + line(b"GET /first HTTP/1.1"),
    "NUL in front": b"\0" + line(b"GET /first HTTP/1.1"),
    "a byte order mark in front": b"\xef\xbb\xbf" + line(b"GET /first HTTP/1.1"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "two spaces after the method": line(b"GET  /first HTTP/1.1"),
    "two spaces after the target": line(b"GET /first  HTTP/1.1"),
    "a tab after the method": line(b"GET\t/first HTTP/1.1"),
    "a tab after the target": line(b"GET /first\tHTTP/1.1"),
    "a vertical tab after the method": line(b"GET\x0b/first HTTP/1.1"),
    "a form feed after the target": line(b"GET /first\x0cHTTP/1.1"),
    "NUL after the method": line(b"GET\0/first HTTP/1.1"),
    "CR after the target": line(b"GET /first\rHTTP/1.1"),
    "no method": line(b"/first HTTP/1.1"),
    "no target": line(b"GET HTTP/1.1"),
    "an empty target": line(b"GET  HTTP/1.1"),
    "a method in brackets": line(b"(GET) /first HTTP/1.1"),
    "a quoted method": line(b'"GET" /first HTTP/1.1'),
    "a method with a colon": line(b"GET: /first HTTP/1.1"),
    "a method with a slash": line(b"G/T /first HTTP/1.1"),
    "a method in latin-1": line(b"G\xc9T /first HTTP/1.1"),
    "a method with NUL": line(b"G\0T /first HTTP/1.1"),
    "a response": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a space in the target": line(b"GET /fi rst HTTP/1.1"),
    "a tab in the target": line(b"GET /fi\trst HTTP/1.1"),
    "NUL in the target": line(b"GET /fi\0rst HTTP/1.1"),
    "DEL in the target": line(b"GET /fi\x7frst HTTP/1.1"),
    "an escape in the target": line(b"GET /fi\x1brst HTTP/1.1"),
    "latin-1 in the target": line(b"GET /caf\xe9 HTTP/1.1"),
    "UTF-8 in the target": line("GET /caf\u00e9 HTTP/1.1".encode()),
    "a fragment": line(b"GET /first#after HTTP/1.1"),
    "a fragment after a query": line(b"GET /first?a#after HTTP/1.1"),
    "a fragment of an absolute target": line(b"GET http://a/first#after HTTP/1.1"),
    "a relative target": line(b"GET first HTTP/1.1"),
    "a query alone": line(b"GET ?first HTTP/1.1"),
    "a backslash": line(b"GET \\first HTTP/1.1"),
    "an asterisk for GET": line(b"GET * HTTP/1.1"),
    "an asterisk and more": line(b"OPTIONS *a HTTP/1.1"),
    "an authority for GET": line(b"GET a:80 HTTP/1.1"),
    "an absolute target without a host": line(b"GET http:///first HTTP/1.1"),
    "an absolute target with a port alone": line(b"GET http://:80/first HTTP/1.1"),
    "an absolute target with one slash": line(b"GET http:/first HTTP/1.1"),
    "an absolute target with a user": line(b"GET http://user@a/first HTTP/1.1"),
    "an absolute target with a bad port": line(b"GET http://a:b/first HTTP/1.1"),
    "an absolute target with two ports": line(b"GET http://a:80:81/first HTTP/1.1"),
    "an absolute target with a backslash": line(b"GET http://a\\b/first HTTP/1.1"),
    "an absolute target with two hosts": line(b"GET http://a,b/first HTTP/1.1"),
    "an absolute target with an address without its end": line(b"GET http://[::1/first HTTP/1.1"),
    "CONNECT to a path": line(b"CONNECT /first HTTP/1.1"),
    "CONNECT to a URL": line(b"CONNECT http://a:1/ HTTP/1.1"),
    "CONNECT without a port": line(b"CONNECT a HTTP/1.1"),
    "CONNECT with an empty port": line(b"CONNECT a: HTTP/1.1"),
    "CONNECT to port 0": line(b"CONNECT a:0 HTTP/1.1"),
    "CONNECT to port 65536": line(b"CONNECT a:65536 HTTP/1.1"),
    "CONNECT to port 99999": line(b"CONNECT a:99999 HTTP/1.1"),
    "CONNECT without a host": line(b"CONNECT :1 HTTP/1.1"),
    "CONNECT to brackets around no address": line(b"CONNECT [.]:80 HTTP/1.1"),
    "CONNECT to two hosts": line(b"CONNECT a,b:1 HTTP/1.1"),
    "CONNECT with a user": line(b"CONNECT user@a:1 HTTP/1.1"),
}

# Heads that are refused, by their names: the bytes, and the status.
REFUSED_HEADS: dict[str, tuple[bytes, int]] = {
    **{f"both lengths: {name}": (data, 400) for name, data in BOTH.items()},
    **{f"coding: {name}": (data, 501) for name, data in UNKNOWN_CODINGS.items()},
    **{f"coding: {name}": (data, 400) for name, data in ENDLESS_CODINGS.items()},
    **{f"Transfer-Encoding: {name}": (data, 400) for name, data in TRANSFER_ENCODING.items()},
    **{f"Content-Length: {name}": (data, 400) for name, data in CONTENT_LENGTH.items()},
    **{f"field: {name}": (data, 400) for name, data in FIELDS.items()},
    **{f"size: {name}": case for name, case in LARGE.items()},
    **{f"Host: {name}": (data, 400) for name, data in HOST.items()},
    **{f"version: {name}": case for name, case in VERSIONS.items()},
    **{f"request line: {name}": (data, 400) for name, data in REQUEST_LINES.items()},
}

CHUNK_SIZES = {
    "empty": chunks(b"\r\nx\r\n" + END),
    "an empty line in front": chunks(b"\r\n" + ONE + END),
    "a plus": chunks(b"+1\r\nx\r\n" + END),
    "a minus": chunks(b"-1\r\nx\r\n" + END),
    "minus nothing": chunks(b"-0\r\n\r\n"),
    "an underscore": chunks(b"1_0\r\nx\r\n" + END),
    "0x": chunks(b"0x1\r\nx\r\n" + END),
    "0X at the end": chunks(ONE + b"0X0\r\n\r\n"),
    "a hash": chunks(b"#1\r\nx\r\n" + END),
    "h after": chunks(b"1h\r\nx\r\n" + END),
    "no hexadecimal digit": chunks(b"g\r\nx\r\n" + END),
    "a decimal point": chunks(b"1.0\r\nx\r\n" + END),
    "a comma": chunks(b"1,1\r\nx\r\n" + END),
    "quoted": chunks(b'"1"\r\nx\r\n' + END),
    "a space in front": chunks(b" 1\r\nx\r\n" + END),
    "a tab in front": chunks(b"\t1\r\nx\r\n" + END),
    "a space inside": chunks(b"1 0\r\nx\r\n" + END),
    "a space after": chunks(b"1 \r\nx\r\n" + END),
    "a tab after": chunks(b"1\t\r\nx\r\n" + END),
    "a space after the last": chunks(ONE + b"0 \r\n\r\n"),
    "a vertical tab after": chunks(b"1\x0b\r\nx\r\n" + END),
    "NUL after": chunks(b"1\0\r\nx\r\n" + END),
    "NUL in front": chunks(b"\x001\r\nx\r\n" + END),
    "full-width digits": chunks("\uff11\r\nx\r\n".encode() + END),
    "17 digits": chunks(b"00000000000000001\r\nx\r\n" + END),
    "2**63": chunks(b"8000000000000000\r\nx\r\n" + END),
    "2**64 - 1": chunks(b"ffffffffffffffff\r\nx\r\n" + END),
    "2**64 + 1": chunks(b"10000000000000001\r\nx\r\n" + END),
    "zeros without an end": chunks(b"0" * 20_000),
    "CR after": chunks(b"1\r\r\nx\r\n" + END),
    "CR inside": chunks(b"1\r0\r\nx\r\n" + END),
    "CR for the line's end": chunks(b"1\rx\r\n" + END),
    "LF for the line's end": chunks(b"1\nx\r\n" + END),
    "LF for the last line's end": chunks(ONE + b"0\n\r\n"),
    "LF and CR": chunks(b"1\n\rx\r\n" + END),
}

CHUNK_EXTENSIONS = {
    "NUL": chunks(b"1;a=\0\r\nx\r\n" + END),
    "a vertical tab": chunks(b"1;a\x0b\r\nx\r\n" + END),
    "a backspace": chunks(b"1;a=\x08\r\nx\r\n" + END),
    "an escape": chunks(b"1;\x1b[1m\r\nx\r\n" + END),
    "DEL": chunks(b"1;a=\x7f\r\nx\r\n" + END),
    "CR": chunks(b"1;a\rb\r\nx\r\n" + END),
    "CR at the end": chunks(b"1;a\r\r\nx\r\n" + END),
    "LF": chunks(b"1;a\nx\r\n" + END),
    "LF that hides a chunk": chunks(b"2;\nxx\r\n21\r\n" + AFTER + b"\r\n" + END),
    "LF in the last chunk's": chunks(ONE + b"0;a\n\r\n"),
    "no name": chunks(b"1;\r\nx\r\n" + END),
    "no name, and a value": chunks(b"1;=a\r\nx\r\n" + END),
    "a name, and no value": chunks(b"1;a=\r\nx\r\n" + END),
    "two semicolons": chunks(b"1;;a\r\nx\r\n" + END),
    "no semicolon": chunks(b"1 a\r\nx\r\n" + END),
    "a space before the semicolon": chunks(b"1 ;a\r\nx\r\n" + END),
    "a space at the end": chunks(b"1;a \r\nx\r\n" + END),
    "two words": chunks(b"1;a b\r\nx\r\n" + END),
    "a quotation without its end": chunks(b'1;a="b\r\nx\r\n' + END),
    "a quotation that goes on in the next line": chunks(b'1;a="\r\nx\r\n0\r\n\r\n"\r\nx\r\n' + END),
    "a quotation that ends in a backslash": chunks(b'1;a="b\\\r\nx\r\n' + END),
    "text after a quotation": chunks(b'1;a="b"c\r\nx\r\n' + END),
    "obs-text outside a quotation": chunks(b"1;a=\xe9\r\nx\r\n" + END),
    "without an end": chunks(b"1;" + b"a" * 20_000),
}

CHUNK_DATA = {
    "longer than its size": chunks(b"1\r\nxy\r\n" + END),
    "shorter than its size": chunks(b"3\r\nx\r\n" + END),
    "no CRLF after it": chunks(b"1\r\nx" + END),
    "no CRLF after it, nor a chunk": chunks(b"1\r\nx"),
    "LF after it": chunks(b"1\r\nx\n" + END),
    "CR after it": chunks(b"1\r\nx\r" + END),
    "LF and CR after it": chunks(b"1\r\nx\n\r" + END),
    "any two bytes after it": chunks(b"1\r\nxXX" + END),
    "spaces after it": chunks(b"1\r\nx  \r\n" + END),
    "a blank line after it": chunks(b"1\r\nx\r\n\r\n" + END),
}

TRAILERS = {
    "no blank line": chunks(ONE + b"0\r\n"),
    "CR for the blank line": chunks(ONE + b"0\r\n\r"),
    "LF for the blank line": chunks(ONE + b"0\r\n\n"),
    "a bare LF after a field": chunks(ONE + b"0\r\nX: y\n\r\n"),
    "LF for the line's end and the blank line": chunks(ONE + b"0\r\nX: y\n\n"),
    "LF between two fields": trailers(b"X: y\nZ: z\r\n"),
    "CR in a value": trailers(b"X: y\rz\r\n"),
    "CR at a value's end": trailers(b"X: y\r\r\n"),
    "NUL in a value": trailers(b"X: \0\r\n"),
    "an escape in a value": trailers(b"X: \x1b\r\n"),
    "a fold": trailers(b"X: y\r\n z\r\n"),
    "a fold at the start": trailers(b" X: y\r\n"),
    "a fold of nothing": trailers(b"X: y\r\n\t\r\n"),
    "a space before the colon": trailers(b"X : y\r\n"),
    "no colon": trailers(b"X\r\n"),
    "no name": trailers(b": y\r\n"),
    "a name in latin-1": trailers(b"\xe9: y\r\n"),
    "a request line": trailers(b"GET /inside HTTP/1.1\r\nHost: a\r\n"),
    "Transfer-Encoding": trailers(b"Transfer-Encoding: chunked\r\n"),
    "an unknown Transfer-Encoding": trailers(b"Transfer-Encoding: identity\r\n"),
    "Content-Length": trailers(b"Content-Length: 1\r\n"),
    "Content-Length in another case": trailers(b"X: y\r\ncONTENT-lENGTH: 1\r\n"),
    "a bad Content-Length": trailers(b"Content-Length: x\r\n"),
    "Host": trailers(b"Host: b\r\n"),
    "two Hosts": trailers(b"Host: b\r\nHost: c\r\n"),
}

LARGE_TRAILERS = {
    "that are too many": trailers(b"X: y\r\n" * 101),
    "that are too large": trailers(b"X: " + b"y" * 17_000 + b"\r\n"),
}

# Bodies that are refused, after a proper head: a handler sees that one request.
REFUSED_BODIES: dict[str, tuple[bytes, int]] = {
    **{f"chunk's size: {name}": (data, 400) for name, data in CHUNK_SIZES.items()},
    **{f"chunk's extension: {name}": (data, 400) for name, data in CHUNK_EXTENSIONS.items()},
    **{f"chunk's data: {name}": (data, 400) for name, data in CHUNK_DATA.items()},
    **{f"trailers: {name}": (data, 400) for name, data in TRAILERS.items()},
    **{f"trailers {name}": (data, 431) for name, data in LARGE_TRAILERS.items()},
}


@dataclass(frozen=True)
class Accepted:
    """A request that may be unusual, but means one thing only."""

    data: bytes
    target: str = "/first"
    body: bytes = b""
    host: str | None = "a"
    closes: bool = False  # so that the request after it is not answered


ACCEPTED: dict[str, Accepted] = {
    "an empty line in front": Accepted(b"\r\n" + line(b"GET /first HTTP/1.1")),
    "an absolute target": Accepted(line(b"GET http://a/first HTTP/1.1"), "http://a/first"),
    "an absolute target and another Host": Accepted(
        b"GET http://a:81/first HTTP/1.1\r\nHost: b\r\n\r\n", "http://a:81/first", host="a:81"
    ),
    "an absolute target and an empty Host": Accepted(
        b"GET http://a/first HTTP/1.1\r\nHost:\r\n\r\n", "http://a/first", host="a"
    ),
    "an absolute target and no Host in HTTP/1.0": Accepted(
        b"GET http://a/first HTTP/1.0\r\n\r\n", "http://a/first", host="a", closes=True
    ),
    "a URL in the query": Accepted(line(b"GET /first?http://b/ HTTP/1.1"), "/first?http://b/"),
    "two slashes": Accepted(line(b"GET //b/first HTTP/1.1"), "//b/first"),
    "dots": Accepted(line(b"GET /a/../first HTTP/1.1"), "/a/../first"),
    "percent codes of CR and LF": Accepted(line(b"GET /%0d%0aX:%20y HTTP/1.1"), "/%0d%0aX:%20y"),
    "a method in lower case": Accepted(line(b"get /first HTTP/1.1")),
    "an empty Host": Accepted(get(b"Host:\r\n"), host=""),
    "a Host with an empty port": Accepted(get(b"Host: a:\r\n"), host="a:"),
    "white space around the Host": Accepted(get(b"Host:\t a \t\r\n")),
    "no white space after a colon": Accepted(get(b"Host:a\r\n")),
    "no Host in HTTP/1.0": Accepted(b"GET /first HTTP/1.0\r\n\r\n", host=None, closes=True),
    "HTTP/1.0 with keep-alive": Accepted(
        b"GET /first HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", closes=True
    ),
    "HTTP/1.0 with a body": Accepted(
        b"POST /first HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", body=b"x", closes=True
    ),
    "a body of GET": Accepted(b"GET /first HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n" + AFTER, body=AFTER),
    "a chunked body of GET": Accepted(
        b"GET /first HTTP/1.1\r\nHost: a\r\n" + CHUNKED + b"\r\n21\r\n" + AFTER + b"\r\n" + END, body=AFTER
    ),
    "no length, and so no body": Accepted(post(b"")),
    "leading zeros are decimal": Accepted(post(b"Content-Length: 010\r\n", b"0123456789"), body=b"0123456789"),
    "a length of 0": Accepted(post(b"Content-Length: 0\r\n")),
    "white space around a length": Accepted(post(b"Content-Length:\t 1 \t\r\n", b"x"), body=b"x"),
    "a chunked body in any case": Accepted(post(b"TRANSFER-encoding:  cHUNKed\t\r\n", ONE + END), body=b"x"),
    "a request in a chunk": Accepted(chunks(b"21\r\n" + AFTER + b"\r\n" + END), body=AFTER),
    "an end in a chunk": Accepted(chunks(b"5\r\n" + END + b"\r\n" + END), body=END),
    "leading zeros of a chunk's size": Accepted(chunks(b"0001\r\nx\r\n000\r\n\r\n"), body=b"x"),
    "a chunk's size in either case": Accepted(
        chunks(b"A\r\n0123456789\r\na\r\n0123456789\r\n" + END), body=b"0123456789" * 2
    ),
    "extensions of chunks": Accepted(chunks(b'1;a;b=c; d = "e;\\"\t\xe9" ;f\r\nx\r\n0;last\r\n\r\n'), body=b"x"),
    "an extension that reads like a chunk": Accepted(chunks(b'1;a="0"\r\nx\r\n' + END), body=b"x"),
    "trailers that nobody sees": Accepted(trailers(b"X: y\r\nX-Forwarded-For: b\r\n"), body=b"x"),
    "a field named like a length": Accepted(post(b"Content_Length: 33\r\nX-Content-Length: 33\r\n")),
    "a field named like a coding": Accepted(post(b"Transfer_Encoding: chunked\r\nX-Transfer-Encoding: chunked\r\n")),
    "a coding that is only accepted": Accepted(post(b"TE: chunked, trailers\r\n")),
    "a length in a value": Accepted(post(b"X: y, Content-Length: 33\r\nY: Transfer-Encoding: chunked\r\n")),
    "NEL in a value ends no line": Accepted(post(b"X: y\x85Content-Length: 33\r\n")),
    "a length nominated in Connection": Accepted(
        post(b"Connection: Content-Length\r\nContent-Length: 1\r\n", b"x"), body=b"x"
    ),
    "an expectation that is not understood": Accepted(
        post(b"Expect: 200-ok\r\nContent-Length: 33\r\n", AFTER), body=AFTER
    ),
    "a body that was not waited for": Accepted(
        post(b"Expect: 100-continue\r\nContent-Length: 33\r\n", AFTER), body=AFTER
    ),
    "an upgrade that nobody takes": Accepted(
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 33\r\n", AFTER), body=AFTER
    ),
}
