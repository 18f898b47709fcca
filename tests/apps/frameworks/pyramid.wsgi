import hashlib
import threading

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound
from pyramid.response import Response

released = threading.Event()


def index(request):
    return Response('Pyramid is here')


def count(request):
    visits = int(request.cookies.get('visits', 0)) + 1
    response = Response(str(visits), content_type='text/plain')
    response.set_cookie('visits', str(visits), httponly=True)
    response.set_cookie('second', 'one')
    return response


def moved(request):
    return HTTPFound(request.route_url('named', name='Grüße 世界'))


def named(request):
    return {'name': request.matchdict['name'], 'query': request.params.get('q', '')}


def form(request):
    return {'title': request.POST['title'], 'tags': request.POST.getall('tag')}


def upload(request):
    field = request.POST['file']
    content = field.file.read()
    return {'name': field.filename, 'size': len(content), 'md5': hashlib.md5(content).hexdigest()}


def stream(request):
    released.clear()

    def pieces():
        yield b'the first piece\n'
        yield b'released\n' if released.wait(20) else b'never released\n'
    return Response(app_iter=pieces(), content_type='text/plain')


def release(request):
    released.set()
    return Response('released')


def broken(request):
    raise LookupError('broken on purpose')


with Configurator() as config:
    for view in (index, count, moved, stream, release, broken):
        config.add_route(view.__name__, '/' if view is index else f'/{view.__name__}')
        config.add_view(view, route_name=view.__name__)
    config.add_route('named', '/named/{name}')
    config.add_view(named, route_name='named', renderer='json')
    for view in (form, upload):
        config.add_route(view.__name__, f'/{view.__name__}', request_method='POST')
        config.add_view(view, route_name=view.__name__, renderer='json')
    application = config.make_wsgi_app()
