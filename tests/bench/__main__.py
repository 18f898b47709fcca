"""Compares mod_rustgi with its peers on this machine. README.md beside this says how, and what comes of it."""
import argparse
import contextlib
import json
import pathlib
import resource
import subprocess

import cache
import cases
import contenders
import counting
import installation
import load
import record
import report
import rounds
import scale


def arguments():
    parser = argparse.ArgumentParser(prog='bench', description=__doc__)
    parser.add_argument('--short', action='store_true', help='two minutes: hello and Flask, mod_wsgi and ours')
    parser.add_argument('--scale', action='store_true', help='how rate and memory change with size, instead of the comparison')
    parser.add_argument('--cases', nargs='*', default=[], help='only these cases or series, by their keys')
    parser.add_argument('--contenders', nargs='*', default=[], help='only those whose names hold one of these')
    parser.add_argument('--seconds', type=int, help='of each turn')
    parser.add_argument('--rounds', type=int, help='turns of each contender in each case')
    parser.add_argument('--no-counts', action='store_true', help='do not count instructions and system calls')
    parser.add_argument('--results', type=pathlib.Path, help='where the results go (bench/results beside the cache)')
    parser.add_argument('--document', type=pathlib.Path, help='the page to write besides, and its charts beside it')
    parser.add_argument('--again', type=pathlib.Path, nargs='*', help='make reports of these raw results, and measure nothing')
    return parser.parse_args()


def compare(given):
    """The comparison: raw results."""
    chosen = cases.SHORT if given.short else cases.named(given.cases)
    against = contenders.SHORT if given.short else contenders.named(given.contenders)
    seconds = given.seconds or (1 if given.short else 3)
    run = rounds.Run(against, seconds, given.rounds or 3)
    run.measure(chosen)
    counts = {} if given.no_counts else count(against, given.short)
    return record.of(method={'seconds': seconds, 'rounds': run.rounds}, results=run.results, counts=counts,
                     missing=run.missing)


def count(against, short):
    """Instructions of those that are httpd and a module, system calls of all."""
    counts = {}
    hello = cases.ALL[0]
    for contender in against:
        counted = counts.setdefault(contender.name, {})
        with contextlib.suppress(installation.Missing):
            if contender.kind in ('none', 'embedded') or (contender.kind == 'daemon' and not short):
                kinds = ['wrk'] if short else counting.KINDS
                counted['instructions'] = {kind: counting.instructions(contender, hello, kind) for kind in kinds}
            if not short:
                counted['system_calls'] = counting.system_calls(contender, hello, 'wrk')
            rounds.say(f'{contender.name}: {counted}')
    return counts


def measure_scale(given):
    """The scale: raw results."""
    seconds, turns = given.seconds or 2, given.rounds or 3
    chosen = [series for series in scale.ALL if not given.cases or series.key in given.cases]
    measured = [scale.measure(series, seconds, turns) for series in chosen]
    started = scale.start_up(5) if not given.cases or 'start-up' in given.cases else {}
    return record.of(method={'seconds': seconds, 'rounds': turns}, scale=measured, start_up=started)


def publish(results, directory, document):
    """Report, charts and raw results into a directory, and into the page."""
    name = 'scale' if 'scale' in results else 'comparison'
    raw = record.write(results, directory, name)
    text = report.of_scale(results) if name == 'scale' else report.of_run(results)
    (directory / f'{name}.md').write_text(text)
    print(text)
    draw(raw, directory)
    if document:
        draw(raw, document.parent / document.stem)
        record.write(results, document.parent / document.stem, name)
        report.write_page(document)


def draw(raw, directory):
    try:
        subprocess.run([cache.charts(), installation.SOURCE / 'charts.py', raw, directory], check=True)
    except (installation.Missing, subprocess.CalledProcessError) as why:
        print(f'There are no charts: {why}')


def main():
    given = arguments()
    # A thousand clients are a thousand descriptors.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    directory = given.results or cache.root() / 'results'
    for raw in given.again or ():
        publish(json.loads(raw.read_text()), directory, given.document)
    if given.again:
        return
    installation.module()
    load.tool('wrk')
    publish(measure_scale(given) if given.scale else compare(given), directory, given.document)


if __name__ == '__main__':
    main()
