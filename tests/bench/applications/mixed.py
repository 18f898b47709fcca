"""Looks at all of a request, as frameworks do: its form, its query, its headers. Answers with as many headers as came, and
with as many bytes as are asked for."""
from urllib.parse import parse_qs


def application(environ, start_response):
    form = parse_qs(environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0)).decode())
    query = parse_qs(environ['QUERY_STRING'])
    body = b'x' * int(query.get('bytes', ['0'])[0]) or b'Hello World!'
    came = [value for name, value in environ.items() if name.startswith('HTTP_X_')]
    headers = [('Content-Type', 'text/plain'), ('Content-Length', str(len(body))), ('X-Fields', str(len(form)))]
    start_response('200 OK', headers + [(f'X-Answer-{number}', value) for number, value in enumerate(came)])
    return [body]
