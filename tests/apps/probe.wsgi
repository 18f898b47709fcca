"""Runs the Python that it is sent: a request's body defines `app(environ, start_response)`, which answers it."""
import io
import json
import os
import sys
import threading
import time

remembered = {}  # What one request leaves for a later one.


def say(start_response, value):
    """A whole answer: `value` as JSON."""
    body = json.dumps(value).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]


def attempt(function, *arguments, **keywords):
    """What a call comes to: 'TypeError: …', or the repr of its result."""
    try:
        return repr(function(*arguments, **keywords))
    except BaseException as raised:
        return f'{type(raised).__name__}: {raised}'


def application(environ, start_response):
    source = environ['wsgi.input'].read().decode()
    exec(source, globals())
    return app(environ, start_response)
