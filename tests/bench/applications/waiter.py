"""Sleeps 20 ms in each request. `?PATH`: sleeps as long as that file exists."""
import os
import time

SERVICE = 0.02


def application(environ, start_response):
    held = environ['QUERY_STRING']
    if not held:
        time.sleep(SERVICE)
    while held and os.path.exists(held):
        time.sleep(0.05)
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '12')])
    return [b'Hello World!']
