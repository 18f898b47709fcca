"""An attacker that runs as httpd's user outside httpd, as a CGI program does. It finds the sockets of all workers below
the socket prefix and tries one kind of attack on each of them. Prints one JSON object: what it received. A correct worker
closes the connection and sends no byte and no descriptor, and this program cannot access its memory.

    attack.py KIND --prefix PATH [--frame FILE] [--proof FILE] [--number N] [--seconds N] [--pids PID...]

| kind | what the attacker does |
|---|---|
| silent | connects and sends nothing |
| noise | connects and sends random bytes |
| request | connects and sends the frame of a request, as an httpd child would send it, without a secret |
| guess | connects, sends the proof of another secret or random bytes of its length, and then the frame of a request |
| flood | opens N connections, spread over all workers, and keeps them |
| processes | reads the memory and opens the descriptors of the processes PID, and traces them |
"""
import argparse
import array
import ctypes
import errno
import glob
import json
import mmap
import os
import random
import resource
import select
import socket
import struct
import time


def sockets(prefix):
    """Paths of all sockets of workers. httpd's user cannot list the directories, but /proc/net/unix names the sockets."""
    found = set(glob.glob(glob.escape(prefix) + '.*/*.sock'))
    with open('/proc/net/unix') as table:
        for line in table:
            fields = line.split()
            if len(fields) > 7 and fields[7].startswith(prefix + '.') and fields[7].endswith('.sock'):
                found.add(fields[7])
    return sorted(found)


class Got:
    """Counts what the connections of one attack received."""

    def __init__(self, kind):
        self.counts = dict.fromkeys(('connected', 'refused', 'full', 'ended', 'kept', 'bytes', 'descriptors', 'placed'), 0)
        self.counts['kind'] = kind

    def connect(self, path):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            self.counts['full' if error.errno == errno.EAGAIN else 'refused'] += 1
            return None
        self.counts['connected'] += 1
        return connection

    def send(self, connection, sent):
        """Sends as many bytes as fit into the socket."""
        try:
            connection.send(sent, socket.MSG_NOSIGNAL)
        except OSError:
            pass

    def read(self, connection, frame=None):
        """Reads the bytes that have arrived. False at the end of the connection."""
        space = socket.CMSG_SPACE(16 * struct.calcsize('i'))
        try:
            came, beside, _, _ = connection.recvmsg(65536, space)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.counts['bytes'] += len(came)
        descriptors = array.array('i')
        for level, kind, what in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(what[:len(what) - len(what) % descriptors.itemsize])
        self.counts['descriptors'] += len(descriptors)
        if frame and len(descriptors) == 2:
            self.place(came, descriptors, frame)
        for descriptor in descriptors:
            os.close(descriptor)
        return bool(came)

    def place(self, hello, descriptors, frame):
        """Writes a request into the shared memory that the worker has sent, as a child of httpd did in version 4 of the protocol.
        A worker must refuse it. In another layout it is random bytes."""
        try:
            page = mmap.mmap(descriptors[0], os.fstat(descriptors[0]).st_size)
            ring = mmap.mmap(descriptors[1], os.fstat(descriptors[1]).st_size)
        except (OSError, ValueError):
            return
        slot = struct.unpack_from('<I', hello, len(hello) - 4)[0]
        at = 576 + 64 * slot
        if at + 64 > len(page) or len(frame) > 100_000:
            return
        serial = (struct.unpack_from('<I', page, at)[0] >> 2) + 1
        ring[:len(frame)] = frame[:8] + struct.pack('<I', serial) + frame[12:]
        struct.pack_into('<6I', page, at + 4, len(frame), 0, 0, 0, 0, 0)
        struct.pack_into('<I', page, at, serial << 2 | 1)
        # Sets the bit of the slot and leaves short-request mode, so that incrementing the wake sequence wakes a thread.
        word = 40 + 8 * (slot // 64)
        struct.pack_into('<Q', page, word, struct.unpack_from('<Q', page, word)[0] | 1 << slot % 64)
        words = max(struct.unpack_from('<I', page, 32)[0], slot // 64 + 1)
        struct.pack_into('<2I', page, 28, 0, words)
        for field, value in ((8, struct.unpack_from('<I', page, 8)[0] + 1), (12, 2)):
            struct.pack_into('<I', page, field, value)
            wake(page, field)
        self.counts['placed'] += 1

    def await_ends(self, connections, seconds, frame=None):
        """Waits until the workers have closed all connections. Connections that are open after `seconds` count as kept."""
        until = time.monotonic() + seconds
        poll = select.poll()
        by_number = {connection.fileno(): connection for connection in connections}
        for number in by_number:
            poll.register(number, select.POLLIN)
        while by_number and (left := until - time.monotonic()) > 0:
            for number, _ in poll.poll(left * 1000):
                if not self.read(by_number[number], frame):
                    poll.unregister(number)
                    by_number.pop(number).close()
                    self.counts['ended'] += 1
        self.counts['kept'] += len(by_number)


def wake(page, offset):
    """Wakes all threads that wait for a word of this memory."""
    number = 202 if os.uname().machine == 'x86_64' else 98
    word = ctypes.c_uint32.from_buffer(page, offset)
    ctypes.CDLL(None).syscall(number, ctypes.byref(word), 1, 2**31 - 1)
    del word


def attack_sockets(given):
    got = Got(given.kind)
    frame, proof = (open(path, 'rb').read() if path else b'' for path in (given.frame, given.proof))
    paths = sockets(given.prefix)
    got.counts['sockets'] = len(paths)
    number = given.number if given.kind == 'flood' else len(paths)
    connections = []
    for index in range(number if paths else 0):
        connection = got.connect(paths[index % len(paths)])
        if connection is None:
            continue
        connections.append(connection)
        if given.kind == 'noise':
            got.send(connection, random.randbytes(random.choice((1, 8, 32, 40, 4096, 200_000))))
        elif given.kind == 'request':
            got.send(connection, frame)
        elif given.kind == 'guess':
            guesses = (proof, bytes(len(proof)), random.randbytes(len(proof)))
            got.send(connection, random.choice(guesses) + frame)
    if given.kind == 'flood':
        print(json.dumps({'kind': 'flood', 'opened': len(connections)}), flush=True)
    got.await_ends(connections, given.seconds, frame if given.kind in ('request', 'guess') else None)
    return got.counts


SEIZE, PTRACE_DETACH = 0x4206, 17
READV, PIDFD_OPEN, PIDFD_GETFD = {'x86_64': (310, 434, 438), 'aarch64': (270, 434, 438)}.get(os.uname().machine, (0, 0, 0))


class Iovec(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]


def accesses(pid):
    """The ways in which this program can access the memory and descriptors of another process."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = f'/proc/{pid}'
    try:
        os.close(os.open(f'{place}/mem', os.O_RDWR))
        yield 'mem'
    except OSError:
        pass
    for name in ('maps', 'environ'):
        try:
            with open(f'{place}/{name}', 'rb') as file:
                if file.read(1):
                    yield name
        except OSError:
            pass
    try:
        for number in os.listdir(f'{place}/fd'):
            yield 'fd'
            try:
                os.close(os.open(f'{place}/fd/{number}', os.O_RDONLY | os.O_NONBLOCK))
                yield 'fd opened'
            except OSError:
                pass
    except OSError:
        pass
    byte = ctypes.create_string_buffer(1)
    local = Iovec(ctypes.cast(byte, ctypes.c_void_p), 1)
    # If this program may read the process, the error is EFAULT, because the address is not mapped there.
    remote = Iovec(1, 1)
    done = libc.syscall(READV, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    if done >= 0 or ctypes.get_errno() == errno.EFAULT:
        yield 'process_vm_readv'
    handle = libc.syscall(PIDFD_OPEN, pid, 0)
    if handle >= 0:
        if libc.syscall(PIDFD_GETFD, handle, 0, 0) >= 0:
            yield 'pidfd_getfd'
        os.close(handle)
    # The process is not stopped: SEIZE does not stop it, and it is detached when this program ends.
    if libc.ptrace(SEIZE, pid, None, None) == 0:
        yield 'ptrace'


def attack_processes(given):
    got = {str(pid): sorted(set(accesses(pid))) for pid in given.pids if os.path.exists(f'/proc/{pid}')}
    return {'kind': 'processes', 'looked': len(got), 'access': {pid: ways for pid, ways in got.items() if ways}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('kind', choices=('silent', 'noise', 'request', 'guess', 'flood', 'processes'))
    parser.add_argument('--prefix')
    parser.add_argument('--frame')
    parser.add_argument('--proof')
    parser.add_argument('--number', type=int, default=2000)
    parser.add_argument('--seconds', type=float, default=20)
    parser.add_argument('--pids', type=int, nargs='*', default=[])
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(attack_processes(given) if given.kind == 'processes' else attack_sockets(given)), flush=True)


if __name__ == '__main__':
    main()
