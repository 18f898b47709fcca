"""Answers with its environ: a string as it is, anything else as [type, repr]."""
import json


def shown(value):
    return value if isinstance(value, str) else [type(value).__name__, repr(value)]


def application(environ, start_response):
    body = json.dumps({key: shown(value) for key, value in environ.items()}).encode()
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [body]
