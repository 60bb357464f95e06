"""Hosts as network namespaces on one bridge, daemons on them, and clients of their sockets.

Nothing touches the machine's own network: the bridge is in a namespace too."""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BINARY = os.path.realpath(os.environ.get("KLATSCH", "target/release/klatsch"))
NEIGHBOURS = [pathlib.Path(f"/proc/sys/net/ipv4/neigh/default/gc_thresh{n}") for n in (3, 2, 1)]
ALL_ON = """[hello]
enabled = true
[room]
enabled = true
server = true
[directory]
enabled = true
server = true
"""


def sh(*words, **kw):
    return subprocess.run(words, check=True, capture_output=True, text=True, **kw).stdout


def enter(space):
    """setns(2): Python has it from 3.12 on."""
    if ctypes.CDLL(None, use_errno=True).setns(space, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Lab:
    """Hosts 0 to n-1 with 10.79.h.l/16 at eth0. Use as a context."""

    def __init__(self, hosts):
        self.name = f"klatsch-x{os.getpid()}"
        self.hosts, self.daemons = hosts, []
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="klatsch-x"))

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
        # one table of neighbours for all namespaces: each pair of hosts has two entries in it
        self.neighbours = {path: path.read_text() for path in NEIGHBOURS}
        for path in NEIGHBOURS:
            if int(path.read_text()) < 4 * self.hosts ** 2:
                path.write_text(str(4 * self.hosts ** 2))
        for space in [self.bridge()] + [self.space(n) for n in range(self.hosts)]:
            sh("ip", "netns", "add", space)
            sh("ip", "-n", space, "link", "set", "lo", "up")
        lines = ["link add br0 type bridge forward_delay 0", "link set br0 up"]
        for n in range(self.hosts):
            lines.append(f"link add p{n} type veth peer name eth0 netns {self.space(n)}")
            lines.append(f"link set p{n} master br0 up")
        self.batch(self.bridge(), lines)
        for n in range(self.hosts):
            self.batch(self.space(n), [
                f"addr add {self.ip(n)}/16 broadcast 10.79.255.255 dev eth0",
                "link set eth0 up"])
        return self

    def batch(self, space, lines):
        sh("ip", "-n", space, "-batch", "-", input="\n".join(lines) + "\n")

    def __exit__(self, *_):
        for path, text in self.neighbours.items():
            path.write_text(text)
        for daemon in self.daemons:
            daemon.kill()
        for space in [self.space(n) for n in range(self.hosts)] + [self.bridge()]:
            subprocess.run(["ip", "netns", "del", space], capture_output=True)
        shutil.rmtree(self.place, ignore_errors=True)

    def bridge(self):
        return self.name + "-br"

    def space(self, n):
        return f"{self.name}-{n}"

    def ip(self, n):
        return f"10.79.{n // 200}.{n % 200 + 1}"

    def inside(self, n, *words, outside=(), **kw):
        """`outside`: words before, done while /sys is still the machine's own."""
        return subprocess.Popen([*outside, "ip", "netns", "exec", self.space(n), *words], **kw)

    def within(self, n, act):
        """Does something in a host's network: for sockets, which stay there."""
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.space(n)}", os.O_RDONLY)
        try:
            enter(there)
            return act()
        finally:
            enter(here)
            os.close(here)
            os.close(there)

    def daemon(self, n, handle, **kw):
        daemon = Daemon(self, n, handle, **kw)
        self.daemons.append(daemon)
        return daemon


class Daemon:
    def __init__(self, lab, n, handle, more="", before=(), outside=(), home=None, wait=True, all_on=True):
        self.lab, self.n, self.handle = lab, n, handle
        self.before, self.outside = list(before), list(outside)
        self.home = home or lab.place / handle
        self.home.mkdir(exist_ok=True)
        (self.home / "klatsch.toml").write_text(
            f'handle = "{handle}"\n{ALL_ON if all_on else ""}{more}')
        self.env = dict(os.environ, HOME=str(self.home), XDG_RUNTIME_DIR=str(self.home / "run"))
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            self.env.pop(name, None)
        (self.home / "run").mkdir(exist_ok=True)
        self.process = None
        self.start(wait)

    def start(self, wait=True):
        self.log = open(self.home.parent / f"{self.handle}.log", "ab")
        self.process = self.lab.inside(
            self.n, *self.before, BINARY, "run", "--config", str(self.home / "klatsch.toml"),
            outside=self.outside, env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)
        if wait:
            self.up()

    def up(self, within=30):
        begun = time.monotonic()
        while True:
            try:
                return self.call("Status")
            except (OSError, EOFError, ValueError):
                if time.monotonic() - begun > within:
                    raise
                time.sleep(0.05)

    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self, how=signal.SIGKILL):
        if self.running():
            self.process.send_signal(how)
            self.process.wait()

    def client(self, timeout=10):
        return Client(self.home / "run/klatsch/control", timeout)

    def call(self, method, timeout=10, **parameters):
        with self.client(timeout) as client:
            return client.call(method, **parameters)

    def peers(self):
        return self.call("Status")["peers"]

    def memory(self, what="Private_Dirty"):
        """kB."""
        with open(f"/proc/{self.pid()}/smaps_rollup") as rollup:
            for line in rollup:
                if line.startswith(what + ":"):
                    return int(line.split()[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid()}/fd"))

    def cpu(self):
        """Seconds."""
        fields = pathlib.Path(f"/proc/{self.pid()}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Refused(Exception):
    """The daemon answered, and said no."""


class Client:
    def __init__(self, path, timeout=10):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, method, more=False, **parameters):
        call = {"method": f"org.klatsch.Chat.{method}", "parameters": parameters, "more": more}
        self.socket.sendall(json.dumps(call).encode() + b"\0")

    def hear(self):
        while b"\0" not in self.rest:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.rest += data
        frame, self.rest = self.rest.split(b"\0", 1)
        return json.loads(frame)

    def call(self, method, **parameters):
        self.say(method, **parameters)
        reply = self.hear()
        if "error" in reply:
            raise Refused(f"{method}: {reply['error']} {reply.get('parameters')}")
        return reply["parameters"]


def wait(what, holds, within=60, pause=0.1):
    """How long it took."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > within:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(pause)
    return time.monotonic() - begun
