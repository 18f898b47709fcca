"""The Markdown report of a daemon group below, at and above its capacity."""
import statistics

import load_matrix
from report import number, origin, table

METHOD = '''\
An application that sleeps 20 ms, {threads} threads in each process. The capacity is `processes × {threads} / 20 ms`. The load is
a closed loop: at *n* times the capacity there are *n* clients for each thread of the group, and each sends its next request when it
has its answer. All options that the tables do not name have their defaults.

- **Rate** is in requests/s. **p50** and **p99** are in ms; without a queue they are 20, at 10 times the capacity at best 200.
- **CPU** is in µs for each request: of the httpd children and of the processes that run the application.
- **Overtaken by** is the fairness: the longest time for which a request stayed unanswered after a request that was sent later had been
  answered, in service times (20 ms), over all rounds. Up to 1 is in order of arrival.
'''
WAITING = '''\
{waiters} requests wait for a thread, all threads being held. The figures are the processor time of all httpd children meanwhile,
in percent of one core, and for each waiting request in µs per second; then how many of the requests were answered with 200 once the
threads were free.
'''


def of_load(record):
    method = record['method']
    against = list(dict.fromkeys(cell['contender'] for cell in record['cells']))
    text = origin(record) + '\n' + METHOD.format(threads=method['threads'])
    for children in sorted({cell['children'] for cell in record['cells']}):
        text += f'\n## {children} httpd child{"ren" if children > 1 else ""}\n\n' + of_children(record, children, against)
    return text + '\n## Requests that wait\n\n' + WAITING.format(waiters=load_matrix.WAITERS) + '\n' + of_waiting(record, against)


def of_children(record, children, against):
    head = ['processes', 'times the capacity', 'clients',
            *(f'{name}: {what}' for name in against for what in ('rate', 'p50', 'p99', 'CPU', 'overtaken by', 'failed'))]
    cells = {(cell['processes'], cell['times'], cell['contender']): cell for cell in record['cells'] if cell['children'] == children}
    rows = []
    for processes, times in dict.fromkeys((processes, times) for processes, times, _ in cells):
        there = [cells.get((processes, times, name)) for name in against]
        clients = next(cell['clients'] for cell in there if cell)
        rows.append([processes, f'{times:g}', clients, *(value for cell in there for value in of_cell(cell))])
    return table(head, rows)


def of_cell(cell):
    if not cell:
        return ['–'] * 6
    turns = cell['rounds']

    def median(what, factor=1):
        return statistics.median(turn[what] for turn in turns) * factor

    cpu = [statistics.median(turn['cpu'][role] for turn in turns) * 1e6 for role in ('children', 'workers')]
    return [number(median('rate')), number(median('p50', 1000), '.1f'), number(median('p99', 1000), '.1f'),
            ' + '.join(number(each) for each in cpu), number(max(turn['inversion'] for turn in turns), '.1f'),
            sum(sum(turn['failed'].values()) for turn in turns)]


def of_waiting(record, against):
    rows = {}
    for found in record['waiting']:
        row = rows.setdefault((found['processes'], found['children']), {})
        cpu = found['children_cpu']
        row[found['contender']] = [number(cpu * 100, '.2f'), number(cpu / found['waiters'] * 1e6, ',.0f'),
                                   f"{found['answered']} / {found['clients']}"]
    head = ['processes', 'children', *(f'{name}: {what}' for name in against for what in ('% of a core', 'µs/s each', 'answered'))]
    return table(head, [[*key, *(value for name in against for value in row.get(name, ['–'] * 3))] for key, row in rows.items()])
