"""A worker that serves nobody: it speaks with the supervisor as a worker does, and does what a test tells it.

Arguments: a directory, then what the supervisor adds. In the directory, `behaviour` says what it does at first; a datagram to
`PID.sock` says what it does later; `PID.heard` receives a line for each message that it is told.
"""
import os
import signal
import socket
import struct
import sys
import time

place = sys.argv[1]
pid = os.getpid()
channel = socket.socket(fileno=os.dup(0))


def number(value):
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(digits + [value])


def text(value):
    value = os.fsencode(value)
    return number(len(value)) + value


def version(path):
    # A script, and its modification time if it exists.
    try:
        modified = os.stat(path).st_mtime_ns // 1000
    except OSError:
        return text(path) + b'\0'
    return text(path) + b'\1' + number(2 * modified)


def several(encode, values):
    return number(len(values)) + b''.join(map(encode, values))


def say(message):
    message += signature
    channel.sendall(struct.pack('<II', len(message), 0) + message)


def exactly(count):
    data = b''
    while len(data) < count:
        more, descriptors, _, _ = socket.recv_fds(channel, count - len(data), 4)
        if not more:
            sys.exit(0)
        received.extend(descriptors)
        data += more
    return data


def hear():
    length, count = struct.unpack('<II', exactly(8))
    exactly((count + 127) // 128)
    global signature
    message = exactly(length)
    message, signature = message[:-4], message[-4:]
    with open(f'{place}/{pid}.heard', 'ab') as file:
        file.write(repr((message[0], count, message)).encode() + b'\n')
    return message


def order(words):
    verb, *rest = words
    if verb == 'ready':
        # Scripts that it could not load; with a minus: scripts that do not exist.
        failed = [path for path in rest if path[0] != '-']
        tried = [path.lstrip('-') for path in rest]
        failures = several(lambda path: text(path) + text('SyntaxError'), failed)
        say(b'\0' + failures + several(version, tried))
    elif verb == 'loaded':
        say(b'\1' + text(rest[0]) + text('') + b'\1' + number(0))
    elif verb == 'changed':
        say(b'\2' + version(rest[0]))
    elif verb == 'replace':
        say(b'\3' + text(rest[0]))
    elif verb == 'leaving':
        say(b'\4' + text(rest[0]))
    elif verb == 'exit':
        os._exit(int(rest[0]))
    elif verb == 'signal':
        os.kill(pid, int(rest[0]))
    elif verb == 'sleep':
        time.sleep(float(rest[0]))
    elif verb == 'garbage':
        channel.sendall(b'\xff' * 100)
    elif verb == 'flood':
        for _ in range(int(rest[0])):
            path = f'/nowhere/{_}/'.ljust(int(rest[1]) if rest[1:] else 0, 'x')
            say(b'\1' + text(path) + text('') + b'\1' + number(0))
    elif verb == 'lingering':
        # A descriptor whose closing takes a minute, behind so many messages.
        stuck = socket.create_connection(('127.0.0.1', int(rest[0])))
        stuck.setblocking(False)
        try:
            while True:
                stuck.send(bytes(65536))
        except BlockingIOError:
            pass
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 60))
        for _ in range(int(rest[1])):
            say(b'\1' + text(f'/nowhere/{_}') + text('') + b'\1' + number(0))
        socket.send_fds(channel, [b'x'], [stuck.fileno()])
        stuck.close()
        if rest[2] == 'end':
            os._exit(0)
        time.sleep(60)
    elif verb == 'deaf':
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    elif verb == 'touch':
        open(f'{place}/{pid}.{rest[0]}', 'w').close()


received = []
orders = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
orders.bind(f'{place}/{pid}.sock')
hear()
for line in open(f'{place}/behaviour').read().splitlines():
    order(line.split())
while True:
    import select
    ready, _, _ = select.select([channel, orders], [], [])
    if orders in ready:
        order(orders.recv(4096).decode().split())
    if channel in ready and hear()[0] == 1:
        sys.exit(0)
