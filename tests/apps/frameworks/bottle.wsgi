import hashlib
import threading
import urllib.parse

import bottle
from bottle import redirect, request, response

application = app = bottle.Bottle()
released = threading.Event()


@app.get('/')
def index():
    return 'Bottle is here'


@app.get('/count')
def count():
    visits = int(request.get_cookie('visits', 0)) + 1
    response.set_cookie('visits', str(visits), httponly=True)
    response.set_cookie('second', 'one')
    response.content_type = 'text/plain'
    return str(visits)


@app.get('/moved')
def moved():
    redirect(app.get_url('named', name=urllib.parse.quote('Grüße 世界')), 302)


@app.get('/named/<name>', name='named')
def named(name):
    return {'name': name, 'query': request.query.getunicode('q', '')}


@app.post('/form')
def form():
    return {'title': request.forms.getunicode('title'), 'tags': request.forms.decode().getall('tag')}


@app.post('/upload')
def upload():
    file = request.files['file']
    content = file.file.read()
    return {'name': file.raw_filename, 'size': len(content), 'md5': hashlib.md5(content).hexdigest()}


@app.get('/stream')
def stream():
    released.clear()
    response.content_type = 'text/plain'
    yield 'the first piece\n'
    yield 'released\n' if released.wait(20) else 'never released\n'


@app.get('/release')
def release():
    released.set()
    return 'released'


@app.get('/broken')
def broken():
    raise LookupError('broken on purpose')
