"""Compares mod_rustgi with its peers on this machine. README.md beside this says how, and what comes of it."""
import argparse
import json
import pathlib
import resource
import signal
import subprocess
import sys
import traceback

import cache
import cases
import contenders
import counting
import growth
import installation
import load
import load_matrix
import page
import parallel
import record
import rounds
import scale
import settings
import start_up


def arguments():
    parser = argparse.ArgumentParser(prog='bench', description=__doc__)
    parser.add_argument('parts', nargs='*', metavar='PART', help=f'what to measure, one after the other: {", ".join(PARTS)}')
    parser.add_argument('--short', action='store_true', help='two minutes: hello and Flask, mod_wsgi and ours')
    parser.add_argument('--cases', nargs='*', default=[], help='only these cases, series or settings, by their keys')
    parser.add_argument('--contenders', nargs='*', default=[], help='only those whose names hold one of these')
    parser.add_argument('--ours', action='store_true', help='only ours, in a Python without packages: nothing is installed')
    parser.add_argument('--seconds', type=int, help='of each turn (3 for what was asked for, and 1 for what was not)')
    parser.add_argument('--rounds', type=int, help='turns of each contender in each case')
    parser.add_argument('--requests', type=int, default=1_000_000, help='while memory is watched')
    parser.add_argument('--minutes', type=float, help='what would begin later in a part is left out')
    parser.add_argument('--results', type=pathlib.Path, help='where the results go (bench/results beside the cache)')
    parser.add_argument('--document', type=pathlib.Path, help='the page to write besides, and its charts beside it')
    parser.add_argument('--again', action='store_true', help='make reports of results that are there, and measure nothing')
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f'there is no {", ".join(unknown)}')
    if not given.parts and not given.again:
        given.parts = ['comparison']
    given.results = given.results or cache.root() / 'results'
    return given


class Kept:
    """The record of a part, written whenever there is more: what was measured is not lost with what was not."""

    def __init__(self, given, name, **method):
        self.record = record.of(given.ours, part=name, method=method)
        self.directory, self.name = given.results, name

    def keep(self, **parts):
        self.record.update(parts)
        record.write(self.record, self.directory, self.name)


def chosen(given, usual):
    """The contenders that take part."""
    if given.ours:
        return contenders.named(['floor', *contenders.FOUR[:2]])
    return contenders.named(given.contenders or usual)


def run_of(given, against, usual, less, turns=3):
    return rounds.Run(against, given.seconds or usual, given.seconds or less, given.rounds or turns, rounds.Time(given.minutes))


def compare(given):
    against = contenders.SHORT if given.short else chosen(given, [])
    run = run_of(given, against, *((1, 1) if given.short else (3, 1)))
    kept = Kept(given, 'comparison', seconds=run.seconds, less=run.less, rounds=run.rounds)
    asked = cases.SHORT if given.short else cases.named(given.cases)
    run.measure(asked, lambda: kept.keep(results=run.results, missing=run.missing))


def vary_settings(given):
    kept = Kept(given, 'settings', seconds=given.seconds or 1, rounds=given.rounds or 2)

    def keep(runs):
        kept.keep(settings={key: {'results': run.results, 'missing': run.missing} for key, run in runs.items()})

    def run(against):
        varied = run_of(given, against, 1, 1, 2)
        # With mpm_prefork sixteen processes import the application.
        varied.warm_up = 3
        return varied

    settings.measure(given.cases, run, keep)


def count(given):
    kept = Kept(given, name_of('counts'))
    against = chosen(given, [])
    counting.count(against, given.ours, lambda counts: kept.keep(python=installation.python_version(), counts=counts))


def measure_scale(given):
    time = rounds.Time(given.minutes)
    kept = Kept(given, 'scale', seconds=given.seconds or 1, rounds=given.rounds or 2)
    whole = []
    for series in scale.ALL:
        if not given.cases or series.key in given.cases:
            whole.append({})
            scale.measure(series, given.seconds or 1, given.rounds or 2, time, whole[-1].update)
            kept.keep(scale=whole)


def measure_load(given):
    seconds, turns = given.seconds or 2, given.rounds or 2
    kept = Kept(given, 'load', seconds=seconds, rounds=turns, threads=load_matrix.THREADS, service=load_matrix.SERVICE)
    load_matrix.measure(chosen(given, load_matrix.USUAL), seconds, turns, rounds.Time(given.minutes), kept.keep)


def measure_start(given):
    kept = Kept(given, 'start-up', rounds=given.rounds or 3)
    kept.keep(**start_up.measure(chosen(given, contenders.FOUR), given.rounds or 3))


def watch_memory(given):
    kept = Kept(given, 'growth', requests=given.requests)
    growth.measure(chosen(given, ['floor', *contenders.FOUR[:2]]), given.requests, lambda found: kept.keep(growth=found))


def compute(given):
    kept = Kept(given, name_of('parallel'))
    kept.keep(parallel=parallel.measure())


PARTS = {'comparison': compare, 'settings': vary_settings, 'counts': count, 'scale': measure_scale, 'load': measure_load, 'start-up': measure_start,
         'growth': watch_memory, 'parallel': compute}


def name_of(part):
    """The name of the results of a part; some there are of each Python."""
    return f'{part}-{installation.python_version()}' if part in ('counts', 'parallel') else part


def publish(part, given):
    """Report and charts of what was measured, into the directory of the results and into the page."""
    raw = given.results / f'{name_of(part)}.json'
    if not raw.exists():
        return
    text = page.of_part(json.loads(raw.read_text()))
    raw.with_suffix('.md').write_text(text)
    print(text)
    draw(raw, given.results)
    if given.document:
        directory = given.document.parent / given.document.stem
        record.write(json.loads(raw.read_text()), directory, raw.stem)
        draw(raw, directory)
        page.write(given.document)


def draw(raw, directory):
    try:
        subprocess.run([cache.charts(), installation.SOURCE / 'charts.py', raw, directory], check=True, timeout=300)
    except (installation.Missing, subprocess.SubprocessError) as why:
        print(f'There are no charts: {why}')


def measure(part, given):
    """Measures a part; whether it could. What one fails of does not keep the others from being measured."""
    raw = given.results / f'{name_of(part)}.json'
    raw.unlink(missing_ok=True)
    try:
        PARTS[part](given)
        return True
    except Exception:
        traceback.print_exc()
        return False
    finally:
        # Also of what was interrupted.
        publish(part, given)


def main():
    given = arguments()
    # A thousand clients are a thousand descriptors.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Whoever ends this ends its servers too, and has what was measured until then.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if given.again:
        for part in given.parts:
            publish(part, given)
        if given.document:
            page.write(given.document)
        return
    installation.module()
    load.tool('wrk')
    try:
        whole = all([measure(part, given) for part in given.parts])
    except KeyboardInterrupt:
        whole = False
    sys.exit(0 if whole else 1)


if __name__ == '__main__':
    main()
