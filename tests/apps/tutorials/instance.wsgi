"""An instance that can be called, and counts."""
import threading


class Counter:
    def __init__(self):
        self.lock = threading.Lock()
        self.calls = 0

    def __call__(self, environ, start_response):
        with self.lock:
            self.calls += 1
            calls = self.calls
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return iter([b'call ', b'%d\n' % calls])


application = Counter()
