"""A DICOMweb client of a few lines that takes nothing for granted: what came, and whether it came whole."""

import http.client
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

# No answer of a test takes longer, in seconds.
PATIENCE = 300
BROKEN = "broken"

connections = threading.local()


@dataclass
class Answer:
    """`status` is BROKEN where the body broke off. `parts` are (header fields, content), of a multipart body."""

    status: object
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    parts: list = field(default_factory=list)

    @property
    def kind(self):
        return self.headers.get("content-type", "")


def ask(method, url, headers=None, body=None):
    """One request, on a connection that the thread keeps."""
    to = urlsplit(url)
    kept = vars(connections).setdefault("kept", {})
    for _ in range(2):
        connection = kept.get(to.netloc)
        fresh = connection is None
        if fresh:
            connection = kept[to.netloc] = http.client.HTTPConnection(to.netloc, timeout=PATIENCE)
        try:
            target = to.path + (f"?{to.query}" if to.query else "")
            connection.request(method, target, body=body, headers=headers or {})
            raw = connection.getresponse()
        except (http.client.HTTPException, OSError):
            connection.close()
            del kept[to.netloc]
            if fresh:
                # A reset may overtake even the status.
                return Answer(BROKEN)
            continue  # a kept connection that the server had closed
        fields = {name.lower(): value for name, value in raw.getheaders()}
        try:
            content = raw.read()
        except (http.client.HTTPException, OSError):
            connection.close()
            del kept[to.netloc]
            return Answer(BROKEN, fields)
        answer = Answer(raw.status, fields, content)
        if answer.kind.startswith("multipart/related") and method != "HEAD":
            answer.parts = split(answer.kind, content)
        return answer
    raise OSError(url)


def get(url, accept):
    return ask("GET", url, {"Accept": accept})


def parameter(media_type, name):
    """A parameter of a media type; None where it is missing."""
    for piece in media_type.split(";")[1:]:
        key, _, value = piece.strip().partition("=")
        if key.lower() == name:
            return value.strip('"')
    return None


def split(media_type, body):
    """[(header fields, content)] of a multipart body, which must be closed."""
    delimiter = b"\r\n--" + parameter(media_type, "boundary").encode()
    pieces = (b"\r\n" + body).split(delimiter)
    assert not pieces[0].strip() and pieces[-1].strip() == b"--", "the multipart body is not closed"
    parts = []
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        lines = [line.decode().partition(":") for line in head.split(b"\r\n") if line.strip()]
        parts.append(({name.lower(): value.strip() for name, _, value in lines}, content))
    return parts


def join(media_type, contents, boundary="GantryTestBoundary"):
    """A multipart/related body of parts of one type: (Content-Type, body)."""
    body = b"".join(
        b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (boundary.encode(), media_type.encode(), content)
        for content in contents
    )
    return f'multipart/related; type="{media_type}"; boundary="{boundary}"', body + f"--{boundary}--\r\n".encode()
