"""numpy at work: an eigenvalue, and which interpreter it came from."""
import json
import mod_wsgi
import numpy


def application(environ, start_response):
    number = int(environ['PATH_INFO'].strip('/'))
    matrix = numpy.array([[2.0, 0.0], [0.0, float(number)]])
    told = json.dumps({
        'site': 'numbers',
        'group': mod_wsgi.application_group,
        'number': number,
        'largest': float(numpy.linalg.eigvalsh(matrix).max()),
    }).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(told)))])
    return [told]
