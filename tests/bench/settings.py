"""What settings of httpd change for ours: the multi-processing module, sendfile, connections that are kept alive."""
import dataclasses

import cases
import contenders

# Name, kind and shape of each: the first of a kind is what the others are compared with.
MPMS = [(f'{mode}, mpm_{mpm}', mode, {'mpm': mpm}) for mode in ('embedded', 'daemon') for mpm in ('event', 'worker', 'prefork')]
KEPT = [(f'{mode}, KeepAlive {on}', mode, {'lines': (f'KeepAlive {on}',)}) for mode in ('embedded', 'daemon') for on in ('On', 'Off')]
SENT = [(f'{mode}, EnableSendfile {on}', mode, {'lines': (f'EnableSendfile {on}',)})
        for mode in ('embedded', 'daemon') for on in ('Off', 'On')]
# What is set, and the cases that show it.
ALL = {'mpm': (MPMS, ('hello', 'flask')), 'keep-alive': (KEPT, ('hello',)), 'sendfile': (SENT, ('file',))}


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
            run = runs[key] = run_of([contender(*each) for each in varied])
            run.measure(cases.named(named), lambda: keep(runs))
    return runs


def compared_with(name, names):
    """The first of the same mode."""
    return next(other for other in names if other.partition(',')[0] == name.partition(',')[0])
