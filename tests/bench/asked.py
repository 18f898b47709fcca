"""What was asked of mod_rustgi before it was measured, to stand beside what was. A figure that is missed is called that."""
from contenders import OURS, OURS_DAEMON

# Our rate over another's, on one core and on two; None where nothing was asked.
RATIOS = {
    'mod_wsgi 6.1.1 embedded': {'hello': (2.2, 3.3), 'flask': (1.45, 1.6), 'echo': (1.9, 2.7), 'large': (1.3, 1.2)},
    'mod_wsgi 6.1.1 daemon': {'hello': (4.2, 2.7), 'flask': (2.2, 2.5), 'echo': (3.8, 3.0), 'large': (3.5, 3.5)},
    'mod_proxy_uwsgi + uWSGI': {'hello': (1.9, None), 'flask': (1.35, None)},
    'nginx + uWSGI': {'hello': (1.1, None), 'flask': (1.0, None)},
}
CASES = ('hello', 'flask', 'echo', 'large')
# Instructions of a request over the floor, all processes together.
INSTRUCTIONS = {OURS: {'wrk': 15_000, 'chrome': 20_000}, OURS_DAEMON: {'wrk': 16_000, 'chrome': 22_000}}
# Microseconds until half of one client's requests are answered, in daemon mode.
P50 = 80
# How much more two processors compute with locks of their own, or with none.
PARALLEL = 1.7
# What processes may grow by in 100,000 requests; and in each 100,000 after them, where nothing over httpd itself is asked, and
# this is noise.
GROWTH, SLOPE = 4 << 20, 64 << 10


def takes_long(contender, case):
    """Whether a figure is of those that were asked for, and so is worth more time."""
    return case in CASES and (contender in RATIOS or contender in (OURS, OURS_DAEMON, 'floor'))


def beside(asked, measured, at_least=True, form='.2f'):
    """Asked and measured in a cell of a table; what is missed says so."""
    if measured is None:
        return f'{asked:{form}} / not measured' if asked is not None else '–'
    if asked is None:
        return f'{measured:{form}}'
    kept = measured >= asked if at_least else measured <= asked
    return f'{asked:{form}} / {measured:{form}}' if kept else f'{asked:{form}} / **{measured:{form}} missed**'
