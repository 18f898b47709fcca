"""How much more two processors compute where interpreters have locks of their own, or none. The test of that name measures it;
this keeps its figures."""
import os
import re
import subprocess

from installation import REPOSITORY, Missing, python_version

COMMAND = ['cargo', 'test', '--quiet', '--package', 'rustgi-tests', '--test', 'server', '--', 'parallel', '--ignored', '--nocapture',
           '--test-threads=1']
LINE = re.compile(r'Python (\S+): ([\d.]+) requests a second with a shared lock, ([\d.]+) with "(.*?)": ([\d.]+) times')
PATIENCE = 1800


def measure():
    """Requests per second with one lock and without, in each way that this Python has."""
    try:
        done = subprocess.run(COMMAND, cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as why:
        raise Missing(f'the test does not run: {why}') from why
    said = done.stdout + done.stderr
    found = [{'python': python_version(), 'how': how.replace('\\n', ', '), 'shared': float(shared), 'apart': float(apart),
              'gain': float(gain)} for _, shared, apart, how, gain in LINE.findall(said)]
    if not found and 'SKIPPED' not in said:
        why = ' | '.join(line for line in said.splitlines() if 'panicked' in line or 'Python' in line)
        raise Missing(f'the test fails: {why[:500]}')
    return found
