"""What settings of httpd change for ours: the multi-processing module, sendfile, connections that are kept alive, logs and
look-ups."""
import dataclasses

import cases
import contenders
from installation import load_line

# Name, kind and shape of each: the first of a kind is what the others are compared with.
MPMS = [(f'{mode}, mpm_{mpm}', mode, {'mpm': mpm}) for mode in ('embedded', 'daemon') for mpm in ('event', 'worker', 'prefork')]
KEPT = [(f'{mode}, KeepAlive {on}', mode, {'lines': (f'KeepAlive {on}',)}) for mode in ('embedded', 'daemon') for on in ('On', 'Off')]
SENT = [(f'{mode}, EnableSendfile {on}', mode, {'lines': (f'EnableSendfile {on}',)})
        for mode in ('embedded', 'daemon') for on in ('Off', 'On')]
LOG = ('CustomLog logs/access.log "%h %l %u %t \\"%r\\" %>s %b"',)
# As many look-ups as the script's path has parts.
EVERYWHERE = '<Directory />', '</Directory>'
BESIDES = [
    ('embedded', ()), ('embedded, access log', LOG), ('embedded, access log, BufferedLogs On', ('BufferedLogs On', *LOG)),
    ('embedded, LogLevel info', ('LogLevel info',)), ('embedded, ExtendedStatus On', ('ExtendedStatus On',)),
    ('embedded, AllowOverride All', (EVERYWHERE[0], 'AllowOverride All', EVERYWHERE[1])),
    ('embedded, Options -FollowSymLinks', (EVERYWHERE[0], 'Options -FollowSymLinks', EVERYWHERE[1])),
]


def besides():
    """What else of httpd's costs something for each request."""
    loaded = {'CustomLog': 'log_config', 'BufferedLogs': 'log_config', 'ExtendedStatus': 'status'}
    for name, lines in BESIDES:
        needed = [load_line(module).strip() for word, module in loaded.items() if lines and lines[0].startswith(word)]
        yield name, 'embedded', {'lines': (*needed, *lines)}


# What is set, and the cases that show it.
ALL = {'mpm': (lambda: MPMS, ('hello', 'flask')), 'keep-alive': (lambda: KEPT, ('hello',)), 'sendfile': (lambda: SENT, ('file',)),
       'besides': (besides, ('hello',))}


def contender(name, mode, shape):
    """Ours, in a mode, with another shape."""
    def programs(place):
        return contenders.ours(mode == 'daemon')(dataclasses.replace(place, shape=dataclasses.replace(place.shape, **shape)))

    return contenders.Contender(name, mode, programs)


def measure(keys, run_of, keep):
    """Measures each set of settings with a run of its own that `run_of` makes of contenders: the runs, by key."""
    runs = {}
    for key, (varied, named) in ALL.items():
        if not keys or key in keys:
            run = runs[key] = run_of([contender(*each) for each in varied()])
            run.measure(cases.named(named), lambda: keep(runs))
    return runs


def compared_with(name, names):
    """The first of the same mode."""
    return next(other for other in names if other.partition(',')[0] == name.partition(',')[0])
