"""Radicale, as its own documentation tells WSGI servers to start it."""
from radicale import application
