import hashlib
import threading

import cherrypy

released = threading.Event()


class Root:
    @cherrypy.expose
    def index(self):
        return 'CherryPy is here'

    @cherrypy.expose
    def count(self):
        sent = cherrypy.request.cookie.get('visits')
        visits = int(sent.value if sent else 0) + 1
        cherrypy.response.cookie['visits'] = str(visits)
        cherrypy.response.cookie['second'] = 'one'
        cherrypy.response.headers['Content-Type'] = 'text/plain'
        return str(visits)

    @cherrypy.expose
    def moved(self):
        raise cherrypy.HTTPRedirect(cherrypy.url('/named/Gr%C3%BC%C3%9Fe%20%E4%B8%96%E7%95%8C'), 302)

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def named(self, name, q=''):
        return {'name': name, 'query': q}

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def form(self, title, tag):
        return {'title': title, 'tags': tag}

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def upload(self, file, note):
        content = file.file.read()
        return {'name': file.filename, 'size': len(content), 'md5': hashlib.md5(content).hexdigest()}

    @cherrypy.expose
    @cherrypy.config(**{'response.stream': True})
    def stream(self):
        released.clear()
        cherrypy.response.headers['Content-Type'] = 'text/plain'

        def pieces():
            yield 'the first piece\n'
            yield 'released\n' if released.wait(20) else 'never released\n'
        return pieces()

    @cherrypy.expose
    def release(self):
        released.set()
        return 'released'

    @cherrypy.expose
    def broken(self):
        raise LookupError('broken on purpose')


cherrypy.config.update({'environment': 'embedded', 'log.screen': True})
application = cherrypy.Application(Root(), script_name=None)
