"""Dulwich's git server. httpd has taken the chunks of a body apart, which Dulwich would do itself where it sees the header
that speaks of them."""
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

server = make_wsgi_chain(DictBackend({'/project.git': Repo('@root@/data/project.git')}))


def application(environ, start_response):
    environ.pop('HTTP_TRANSFER_ENCODING', None)
    return server(environ, start_response)
