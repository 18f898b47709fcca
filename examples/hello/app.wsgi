"""An application to look around with: what mod_rustgi passes to a request, a form, an upload, a download.

It is one file, needs nothing but Python's own library, and keeps no more of an upload in memory than one block.
"""

import hashlib
import html
import json
import os
import platform
import re
import sys
import tempfile
import threading
import time
import urllib.parse

BLOCK = 1 << 18
LARGEST_FIELD = 1 << 16
LARGEST_DOWNLOAD = 1 << 33


def application(environ, start_response):
    """The callable that the server looks up."""
    respond = Responder(environ, start_response)
    page = PAGES.get(environ["PATH_INFO"] or "/")
    if page is None:
        return respond.page("404 Not Found", "Nothing here", "<p>There is no page at this address.</p>")
    methods, answer = page
    if environ["REQUEST_METHOD"] not in methods:
        respond.headers.append(("Allow", ", ".join(methods)))
        return respond.page("405 Method Not Allowed", "Not that way", f"<p>This address takes {' or '.join(methods)}.</p>")
    try:
        return answer(environ, respond)
    except BadRequest as problem:
        return respond.page("400 Bad Request", "That cannot be read", f"<p>{escape(problem)}.</p>")


class BadRequest(Exception):
    """What the client sent is not what it says it is."""


class Responder:
    """Sends one answer, as a page for people or as JSON for programs."""

    def __init__(self, environ, start_response):
        self.environ = environ
        self.start_response = start_response
        self.headers = []

    def page(self, status, title, content):
        body = PAGE.format(title=escape(title), content=content, style=STYLE, home=escape(self.environ["SCRIPT_NAME"] or "/"))
        return self.send(status, "text/html; charset=utf-8", body)

    def json(self, value):
        return self.send("200 OK", "application/json", json.dumps(value, indent=2) + "\n")

    def send(self, status, content_type, text):
        body = text.encode("utf-8")
        self.start_response(status, [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
            ("X-Content-Type-Options", "nosniff"),
            *self.headers,
        ])
        return [body]

    def wants_page(self):
        return "text/html" in self.environ.get("HTTP_ACCEPT", "")


def escape(value):
    return html.escape(str(value), quote=True)


# The front page.

def front(environ, respond):
    base = escape(environ["SCRIPT_NAME"])
    return respond.page("200 OK", "It works", "".join([
        f'<p class="lead">{escape(hello(environ))}</p>',
        '<dl class="facts">', *(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts(environ)), "</dl>",
        FORMS.replace("{base}", base).replace("{here}", escape(environ.get("HTTP_HOST", "localhost")) + base),
        '<h2>The environ of this request</h2><div class="scroll"><table><thead><tr><th>Key</th><th>Type</th><th>Value</th></tr></thead><tbody>',
        *(row(key, environ[key]) for key in sorted(environ, key=group_then_name)), "</tbody></table></div>",
    ]))


def hello(environ):
    return f"This page was made by Python {platform.python_version()} for {environ['REMOTE_ADDR']} and served by Apache httpd."


def facts(environ):
    def dotted(key):
        return ".".join(map(str, environ.get(key, ("?",))))

    group = environ.get("mod_wsgi.process_group", "")
    interpreter = environ.get("mod_wsgi.application_group", "")
    return [
        ("Python", platform.python_version()),
        ("httpd", dotted("apache.version")),
        ("as mod_wsgi", dotted("mod_wsgi.version")),
        ("mode", f"daemon ({group})" if group else "embedded"),
        ("application group", interpreter or "%{GLOBAL}"),
        ("process", f"{os.getpid()}, thread {environ.get('mod_wsgi.thread_id', threading.get_ident())}"),
        ("concurrency", concurrency(environ)),
        ("prefix", sys.prefix),
    ]


def concurrency(environ):
    processes = "several processes" if environ["wsgi.multiprocess"] else "one process"
    threads = "several threads" if environ["wsgi.multithread"] else "one thread"
    return f"{processes}, {threads} each"


def group_then_name(key):
    for place, prefix in enumerate(("wsgi.", "mod_wsgi.", "apache.", "HTTP_")):
        if key.startswith(prefix):
            return place + 1, key
    return (0 if key.isupper() else 9), key


def row(key, value):
    shown = value if isinstance(value, str) else repr(value)
    empty = ' class="empty"' if shown == "" else ""
    return f"<tr><th scope=row>{escape(key)}</th><td>{escape(type(value).__name__)}</td><td{empty}>{escape(shown) or 'empty'}</td></tr>"


# The form.

def form(environ, respond):
    fields = [(name, text) for name, filename, text, _ in read_body(environ) if filename is None]
    if not respond.wants_page():
        return respond.json({"fields": fields})
    rows = "".join(f"<tr><th scope=row>{escape(name)}</th><td>{escape(text) or '<i>empty</i>'}</td></tr>" for name, text in fields)
    return respond.page("200 OK", "Your form arrived", f"<table><tbody>{rows}</tbody></table>" if rows else "<p>It was empty.</p>")


# The upload: `multipart/form-data` as a browser sends it, or the bare bytes as `curl -T` does.

def upload(environ, respond):
    began = time.monotonic()
    files = [{"name": filename, "size": size, "sha256": digest} for _, filename, digest, size in read_body(environ) if filename is not None]
    seconds = time.monotonic() - began
    if not respond.wants_page():
        return respond.json({"files": files, "seconds": round(seconds, 3)})
    if not files:
        return respond.page("200 OK", "No file arrived", "<p>The form had none chosen.</p>")
    cards = "".join(f"""<dl class="card">
        <div><dt>Name</dt><dd>{escape(file['name'] or '(none given)')}</dd></div>
        <div><dt>Size</dt><dd>{file['size']:,} bytes</dd></div>
        <div><dt>SHA-256</dt><dd><code>{file['sha256']}</code></dd></div></dl>""" for file in files)
    return respond.page("200 OK", "Your file arrived", f"{cards}<p>Read and hashed in {seconds:.2f} s, block by block.</p>")


def read_body(environ):
    """The parts of a body, as (name, filename, text, size). Files are not kept: their text is their SHA-256."""
    content_type = environ.get("CONTENT_TYPE", "")
    kind = content_type.partition(";")[0].strip().lower()
    stream = environ["wsgi.input"]
    if kind == "multipart/form-data":
        boundary = re.search(r'boundary=(?:"([^"]{1,70})"|([^\s;]{1,70}))', content_type)
        if boundary is None:
            raise BadRequest("The form does not say where its parts end")
        yield from read_parts(Multipart(stream, (boundary[1] or boundary[2]).encode("latin-1")))
    elif kind == "application/x-www-form-urlencoded":
        body = stream.read(LARGEST_FIELD + 1)
        if len(body) > LARGEST_FIELD:
            raise BadRequest("The form is too large")
        for name, text in urllib.parse.parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
            yield name, None, text, len(text)
    else:
        digest, size = hash_of(iter(lambda: stream.read(BLOCK), b""))
        yield "body", "", digest, size


def read_parts(multipart):
    for name, filename, blocks in multipart:
        if filename is not None:
            digest, size = hash_of(blocks)
            if filename or size:
                yield name, filename, digest, size
            continue
        field = bytearray()
        for block in blocks:
            field += block
            if len(field) > LARGEST_FIELD:
                raise BadRequest(f"The field {name} is too large")
        yield name, None, field.decode("utf-8", "replace"), len(field)


def hash_of(blocks):
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


class Multipart:
    """Reads `multipart/form-data` (RFC 7578) from a stream, holding one block and a delimiter's length of it at a time."""

    MOST_PARTS = 1000
    LONGEST_HEADERS = 1 << 14

    def __init__(self, stream, boundary):
        self.stream = stream
        self.delimiter = b"\r\n--" + boundary
        # The first delimiter may stand at the very beginning, without the line end that belongs to the others.
        self.buffer = b"\r\n"

    def __iter__(self):
        for _ in self.until(self.delimiter):
            pass
        for _ in range(self.MOST_PARTS):
            if self.peek(2) == b"--":
                return
            if self.line().strip(b" \t"):
                raise BadRequest("A part of the form does not begin where the last one ends")
            name, filename = self.disposition()
            blocks = self.until(self.delimiter)
            yield name, filename, blocks
            for _ in blocks:  # What nobody wanted.
                pass
        raise BadRequest("The form has too many parts")

    def disposition(self):
        """Reads the headers of a part and gives its name and file name."""
        headers, length = [], 0
        while line := self.line():
            length += len(line)
            if length > self.LONGEST_HEADERS:
                raise BadRequest("The headers of a part are too long")
            headers.append(line.decode("utf-8", "replace"))
        for header in headers:
            key, _, value = header.partition(":")
            if key.strip().lower() == "content-disposition":
                # Browsers write `%22`, `%0D` and `%0A` for what would end the text.
                found = dict(re.findall(r';\s*(name|filename)="([^"]*)"', value, re.IGNORECASE))
                for code, character in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):
                    found = {key: text.replace(code, character) for key, text in found.items()}
                return found.get("name", ""), found.get("filename")
        raise BadRequest("A part of the form has no name")

    def until(self, delimiter):
        """Gives what comes before the delimiter, in blocks, and takes the delimiter away."""
        while True:
            before, found, after = self.buffer.partition(delimiter)
            if found:
                self.buffer = after
                if before:
                    yield before
                return
            # The end of the buffer may be the beginning of the delimiter.
            safe = len(self.buffer) - len(delimiter) + 1
            if safe > 0:
                block, self.buffer = self.buffer[:safe], self.buffer[safe:]
                yield block
            self.fill()

    def line(self):
        """Gives one line without its end."""
        while b"\r\n" not in self.buffer:
            if len(self.buffer) > self.LONGEST_HEADERS:
                raise BadRequest("A line between the parts of the form is too long")
            self.fill()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def peek(self, count):
        """Gives the next bytes and leaves them there."""
        while len(self.buffer) < count:
            self.fill()
        return self.buffer[:count]

    def fill(self):
        block = self.stream.read(BLOCK)
        if not block:
            raise BadRequest("The form ends in the middle")
        self.buffer += block


# The download: as many bytes as asked for, by the application or by httpd itself.

def download(environ, respond):
    query = urllib.parse.parse_qs(environ["QUERY_STRING"])
    try:
        size = int(query.get("bytes", ["1048576"])[0])
    except ValueError:
        raise BadRequest("The number of bytes is not a number") from None
    if not 0 <= size <= LARGEST_DOWNLOAD:
        raise BadRequest(f"The number of bytes must be from 0 to {LARGEST_DOWNLOAD}")
    respond.start_response("200 OK", [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(size)),
        ("Content-Disposition", 'attachment; filename="zeros.bin"'),
    ])
    if query.get("by") == ["file"]:
        file = tempfile.TemporaryFile()
        file.truncate(size)
        return environ["wsgi.file_wrapper"](file)
    return zeros(size)


def zeros(size):
    block = bytes(BLOCK)
    while size > 0:
        yield block[:size]
        size -= BLOCK


PAGES = {
    "/": (("GET", "HEAD"), front),
    "/form": (("POST",), form),
    "/upload": (("POST", "PUT"), upload),
    "/download": (("GET", "HEAD"), download),
}

FORMS = """
<section class="columns">
<form method="post" action="{base}/form">
  <h2>A form</h2>
  <label>Your name <input name="name" autocomplete="name" placeholder="Zoë Müller"></label>
  <label>A message <textarea name="message" rows="2" placeholder="Any characters you like: ✓ &lt;b&gt; &amp;"></textarea></label>
  <button>Post it</button>
</form>
<form method="post" action="{base}/upload" enctype="multipart/form-data">
  <h2>An upload</h2>
  <label>A file of any size <input type="file" name="file" multiple></label>
  <p class="hint">It is hashed as it arrives, and not kept. From a shell:</p>
  <pre>curl -T FILE {here}/upload</pre>
  <button>Send it</button>
</form>
<div class="panel">
  <h2>A download</h2>
  <p><a href="{base}/download?bytes=10485760">10 MiB from a generator</a></p>
  <p><a href="{base}/download?bytes=10485760&amp;by=file">10 MiB through <code>wsgi.file_wrapper</code></a></p>
  <p class="hint">The second never passes through Python.</p>
</div>
</section>
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · mod_rustgi</title>
<style>{style}</style>
</head>
<body>
<header><a href="{home}">mod_rustgi</a><span>Python in Apache httpd</span></header>
<main><h1>{title}</h1>{content}</main>
</body>
</html>
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1d232b; --paper: #f6f5f2; --card: #fff; --line: #dcd9d2; --soft: #6a6f78; --accent: #b0452c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e4df; --paper: #16181c; --card: #1f2228; --line: #343841; --soft: #9aa0aa; --accent: #ef8a6b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
header { display: flex; gap: .8rem; align-items: baseline; padding: .9rem max(1.2rem, calc(50vw - 34rem)); border-bottom: 1px solid var(--line); background: var(--card); }
header a { font-weight: 700; color: var(--accent); text-decoration: none; }
header span, .hint, dt { color: var(--soft); font-size: .9rem; }
main { max-width: 70.4rem; margin: 0 auto; padding: 1.6rem 1.2rem 4rem; }
h1 { font-size: 2.1rem; line-height: 1.2; margin: .4rem 0 .6rem; letter-spacing: -.02em; }
h2 { font-size: 1.1rem; margin: 0 0 .8rem; }
.lead { font-size: 1.1rem; margin: 0 0 1.6rem; max-width: 46rem; }
a { color: var(--accent); }
dl { margin: 0; } dd { margin: 0; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(4, 1fr); gap: 1px; background: var(--line); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.facts div { background: var(--card); padding: .7rem .9rem; }
.facts dd { font-weight: 600; font-variant-numeric: tabular-nums; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1.2rem; margin: 1.6rem 0 2.4rem; }
form, .panel, .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem; }
.card { margin-bottom: 1rem; display: grid; gap: .6rem; }
label { display: block; margin-bottom: .8rem; font-size: .9rem; }
input, textarea { display: block; width: 100%; margin-top: .25rem; padding: .5rem .6rem; font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: 6px; }
button { padding: .5rem 1.1rem; font: inherit; font-weight: 600; color: var(--card); background: var(--accent); border: 0; border-radius: 6px; cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
pre, code, td, tbody th { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .82rem; }
pre { overflow-x: auto; padding: .5rem .6rem; background: var(--paper); border-radius: 6px; margin: .3rem 0 .9rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
tbody tr:last-child > * { border-bottom: 0; }
td:nth-child(2) { white-space: nowrap; }
thead th { font-size: .82rem; color: var(--soft); font-weight: 600; }
tbody th { font-weight: 600; white-space: nowrap; }
.empty { color: var(--soft); font-style: italic; }
@media (max-width: 50rem) { .facts { grid-template-columns: repeat(2, 1fr); } tbody th { white-space: normal; } }
"""
