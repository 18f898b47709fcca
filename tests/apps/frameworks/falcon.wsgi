import hashlib
import threading
import urllib.parse

import falcon

released = threading.Event()


class Index:
    def on_get(self, request, response):
        response.text = 'Falcon is here'


class Count:
    def on_get(self, request, response):
        visits = int(request.cookies.get('visits', 0)) + 1
        response.set_cookie('visits', str(visits), secure=False, http_only=True)
        response.set_cookie('second', 'one', secure=False)
        response.content_type = falcon.MEDIA_TEXT
        response.text = str(visits)


class Moved:
    def on_get(self, request, response):
        raise falcon.HTTPFound(f'{request.prefix}/named/' + urllib.parse.quote('Grüße 世界'))


class Named:
    def on_get(self, request, response, name):
        response.media = {'name': name, 'query': request.get_param('q', default='')}


class Form:
    def on_post(self, request, response):
        form = request.get_media()
        tags = form['tag']
        response.media = {'title': form['title'], 'tags': tags}


class Upload:
    def on_post(self, request, response):
        for part in request.get_media():
            if part.name == 'file':
                content = part.get_data()
                response.media = {
                    'name': part.filename,
                    'size': len(content),
                    'md5': hashlib.md5(content).hexdigest(),
                }


class Stream:
    def on_get(self, request, response):
        released.clear()

        def pieces():
            yield b'the first piece\n'
            yield b'released\n' if released.wait(20) else b'never released\n'
        response.content_type = falcon.MEDIA_TEXT
        response.stream = pieces()


class Release:
    def on_get(self, request, response):
        released.set()
        response.text = 'released'


class Broken:
    def on_get(self, request, response):
        raise LookupError('broken on purpose')


application = app = falcon.App()
# A file comes in one part; Falcon would refuse one of more than a megabyte.
parts = falcon.media.MultipartFormHandler()
parts.parse_options.max_body_part_buffer_size = 16 << 20
app.req_options.media_handlers[falcon.MEDIA_MULTIPART] = parts
app.add_route('/', Index())
app.add_route('/count', Count())
app.add_route('/moved', Moved())
app.add_route('/named/{name}', Named())
app.add_route('/form', Form())
app.add_route('/upload', Upload())
app.add_route('/stream', Stream())
app.add_route('/release', Release())
app.add_route('/broken', Broken())
