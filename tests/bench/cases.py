"""What is asked: an application, a request, and how many clients send it."""
import dataclasses

FILE = 16 << 20


@dataclasses.dataclass(frozen=True)
class Case:
    """One kind of request. `size` is how long the right answer is."""
    key: str
    title: str
    application: str
    size: int = 12
    path: str = '/'
    method: str = 'GET'
    body: int = 0
    headers: int = 0
    clients: int = 16
    tls: bool = False
    # So many applications are asked in turn.
    applications: int = 1
    # Requests with forms, queries and headers of changing size instead of one that is always the same.
    mixed: bool = False
    # The floor answers twelve bytes, whatever is asked: it tells something only of cases that ask for no more.
    with_floor: bool = True

    def sent_headers(self):
        return {f'X-Header-{number}': f'value {number}' for number in range(1, self.headers + 1)}


ALL = [
    Case('hello', 'hello', 'hello'),
    Case('one', 'hello, one client', 'hello', clients=1),
    Case('flask', 'Flask, hello', 'flask_hello', with_floor=False),
    Case('django', 'Django, hello', 'django_site', with_floor=False),
    Case('page', 'Django, a query and a template', 'django_site', 2081, '/page', with_floor=False),
    Case('echo', '64 KiB sent back', 'echo', 65536, method='POST', body=65536, with_floor=False),
    Case('large', 'an answer of 1 MiB', 'bytes_asked_for', 1 << 20, f'/?{1 << 20}&whole', with_floor=False),
    Case('file', 'a file of 16 MiB', 'file', FILE, with_floor=False),
    Case('headers', '95 headers each way', 'headers', headers=95, with_floor=False),
    Case('http2', 'hello over TLS and HTTP/2', 'hello', tls=True),
]
# Not of the comparison: what memory is watched under.
MIXED = Case('mixed', 'forms and headers of changing size', 'mixed', mixed=True, with_floor=False)
SHORT = [case for case in ALL if case.key in ('hello', 'flask')]


def named(keys):
    return [case for case in ALL if not keys or case.key in keys]
