import hashlib
import threading

from flask import Flask, Response, redirect, request, url_for

application = app = Flask(__name__)
released = threading.Event()


@app.get('/')
def index():
    return 'Flask is here'


@app.get('/count')
def count():
    visits = int(request.cookies.get('visits', 0)) + 1
    response = Response(str(visits), mimetype='text/plain')
    response.set_cookie('visits', str(visits), httponly=True)
    response.set_cookie('second', 'one')
    return response


@app.get('/moved')
def moved():
    return redirect(url_for('named', name='Grüße 世界'))


@app.get('/named/<name>')
def named(name):
    return {'name': name, 'query': request.args.get('q', '')}


@app.post('/form')
def form():
    return {'title': request.form['title'], 'tags': request.form.getlist('tag')}


@app.post('/upload')
def upload():
    file = request.files['file']
    content = file.read()
    return {'name': file.filename, 'size': len(content), 'md5': hashlib.md5(content).hexdigest()}


@app.get('/stream')
def stream():
    released.clear()

    def pieces():
        yield 'the first piece\n'
        yield 'released\n' if released.wait(20) else 'never released\n'
    return Response(pieces(), mimetype='text/plain')


@app.get('/release')
def release():
    released.set()
    return 'released'


@app.get('/broken')
def broken():
    raise LookupError('broken on purpose')
