"""How long it takes until an application answers: from the start of a server, and from a change of the application's script."""
import http.client
import itertools
import time

import cases
from installation import Missing
from rounds import say
from running import start

APPLICATIONS = ('hello', 'flask_hello', 'django_site')
OLD, NEW = b'Hello World!', b'Hello again!'
# Longest that new code may take to answer.
PATIENCE = 5


def measure(contenders, rounds):
    """Seconds to the first answer, and to the first of new code, by contender and application."""
    started, changed = {}, {}
    for application, contender in itertools.product(APPLICATIONS, contenders):
        case = next(case for case in cases.ALL if case.application == application)
        try:
            for _ in range(rounds):
                with start(contender, application, case) as server:
                    note(started, contender, application, server.start_up)
            for _ in range(rounds):
                with start(contender, application, case) as server:
                    note(changed, contender, application, until_new(server))
        except (Missing, OSError, http.client.HTTPException) as why:
            say(f'start-up with {application}: {contender.name}: {why}')
    return {'start_up': started, 'reload': changed}


def note(found, contender, application, seconds):
    say(f'{contender.name}, {application}: {seconds * 1000:.1f} ms')
    found.setdefault(contender.name, {}).setdefault(application, []).append(seconds)


def until_new(server):
    """Seconds from a change of the script to the first answer of what it is now, while one client asks all the time."""
    # Later than the time of the file that was loaded, on any file system.
    time.sleep(1.1)
    text = server.place.script.read_bytes()
    server.place.script.write_bytes(text.replace(OLD, NEW))
    changed = time.monotonic()
    failed = None
    while time.monotonic() - changed < PATIENCE:
        connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=PATIENCE)
        connection.request('GET', '/')
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if body == NEW:
            return time.monotonic() - changed
        if answer.status != 200:
            failed = answer.status
    raise Missing(f'new code has not answered in {PATIENCE} s; answers were {failed or "of the old code"}: '
                  f'{server.everything_said()}')
