import hashlib
import json
import threading
import urllib.parse

import web

released = threading.Event()


def answer(value):
    web.header('Content-Type', 'application/json')
    return json.dumps(value)


class Index:
    def GET(self):
        return 'web.py is here'


class Count:
    def GET(self):
        visits = int(web.cookies(visits='0').visits) + 1
        web.setcookie('visits', str(visits), httponly=True)
        web.setcookie('second', 'one')
        web.header('Content-Type', 'text/plain')
        return str(visits)


class Moved:
    def GET(self):
        raise web.found('/named/' + urllib.parse.quote('Grüße 世界'))


class Named:
    def GET(self, name):
        return answer({'name': name, 'query': web.input(q='').q})


class Form:
    def POST(self):
        form = web.input(tag=[])
        return answer({'title': form.title, 'tags': form.tag})


class Upload:
    def POST(self):
        file = web.input(file={}).file
        content = file.file.read()
        return answer({
            'name': file.filename,
            'size': len(content),
            'md5': hashlib.md5(content).hexdigest(),
        })


class Stream:
    def GET(self):
        released.clear()
        web.header('Content-Type', 'text/plain')
        yield 'the first piece\n'
        yield 'released\n' if released.wait(20) else 'never released\n'


class Release:
    def GET(self):
        released.set()
        return 'released'


class Broken:
    def GET(self):
        raise LookupError('broken on purpose')


urls = (
    '/', Index,
    '/count', Count,
    '/moved', Moved,
    '/named/(.+)', Named,
    '/form', Form,
    '/upload', Upload,
    '/stream', Stream,
    '/release', Release,
    '/broken', Broken,
)
web.config.debug = False
application = web.application(urls, autoreload=False).wsgifunc()
