"""What the kernel says of the processes of a server."""
import os
import pathlib

PROC = pathlib.Path('/proc')


def tree(roots):
    """These processes and all that descend from them."""
    children = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / 'stat').read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(')')[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = list(roots)
    for pid in found:
        found += children.get(pid, ())
    return found


def processes(running):
    return tree([process.pid for process in running.started])


def threads(pids):
    for pid in pids:
        try:
            yield from (PROC / str(pid) / 'task').iterdir()
        except OSError:
            continue


def cpu_seconds(pids):
    """The processor time of all threads."""
    nanoseconds = 0
    for thread in threads(pids):
        try:
            nanoseconds += int((thread / 'schedstat').read_text().split()[0])
        except OSError:
            continue
    return nanoseconds / 1e9


def memory(pids):
    """Resident and proportional size in bytes, and how many processes and threads there are."""
    sizes = [size_of(pid) for pid in pids]
    return {'rss': sum(size['rss'] for size in sizes), 'pss': sum(size['pss'] for size in sizes),
            'processes': len(pids), 'threads': sum(1 for _ in threads(pids))}


def size_of(pid):
    """Resident and proportional size of a process, and how much of it is of no file; nothing of one that has ended."""
    sizes = {'rss': 0, 'pss': 0, 'anonymous': 0}
    try:
        lines = (PROC / str(pid) / 'smaps_rollup').read_text().splitlines()
    except OSError:
        return sizes
    for line in lines:
        name, _, value = line.partition(':')
        if name.lower() in sizes:
            sizes[name.lower()] += int(value.split()[0]) * 1024
    return sizes


def role(pid, parent):
    """What a process of httpd with a module is there for."""
    try:
        command = (PROC / str(pid) / 'cmdline').read_bytes()
    except OSError:
        return 'ended'
    if b'httpd.conf' in command:
        return 'httpd, parent' if pid == parent else 'httpd, child'
    return 'supervisor' if b'supervise' in command else 'worker'


def pin(pids, cpus):
    """Lets all threads run on these processors only; those that they start inherit it."""
    for thread in threads(pids):
        try:
            os.sched_setaffinity(int(thread.name), cpus)
        except ProcessLookupError:
            continue
