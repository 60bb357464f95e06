"""A booted Debian 13 of the test's own, and a host beside it.

The machine is the chroot `cross/chroot make test` under a layer in memory (systemd-nspawn's
--volatile=overlay), with its own network: two namespaces joined by a cable, 10.77.0.1 is the
machine, 10.77.0.2 the host beside it. Nothing touches the real network or the chroot.
"""
import atexit
import json
import os
import queue
import subprocess
import sys
import threading
import time

ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
       "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0", "TERM": "dumb"}


def fail(text):
    raise SystemExit(f"FAILED: {text}")


def ok(text):
    print(f"ok: {text}", flush=True)


def wait(what, seconds, probe):
    """Until probe() is true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            fail(f"{what}: not within {seconds} s")
        time.sleep(0.2)


def host(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class Cable:
    """The two namespaces."""

    def __init__(self):
        self.machine, self.beside = f"klatsch-dm{os.getpid()}", f"klatsch-db{os.getpid()}"
        atexit.register(self.cut)
        for name in (self.machine, self.beside):
            host("ip", "netns", "add", name)
            host("ip", "-n", name, "link", "set", "lo", "up")
        host("ip", "-n", self.machine, "link", "add", "host0", "type", "veth",
             "peer", "name", "eth0", "netns", self.beside)
        for name, link, ip in ((self.machine, "host0", 1), (self.beside, "eth0", 2)):
            host("ip", "-n", name, "addr", "add", f"10.77.0.{ip}/24", "brd", "10.77.0.255",
                 "dev", link)
            host("ip", "-n", name, "link", "set", link, "up")

    def cut(self):
        for name in (self.machine, self.beside):
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)


class Beside:
    """The host beside: hears what is said on UDP 4000, says what it is told."""

    PROGRAM = """
import select, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 4000))
chat = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
chat.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
chat.bind(("", 5010))
print("ready", flush=True)
while True:
    for r in select.select([s, chat, sys.stdin], [], [])[0]:
        if r is sys.stdin:
            line = sys.stdin.readline()
            if not line:
                sys.exit()
            port, text = line.rstrip("\\n").split(" ", 1)
            to = ("10.77.0.255", 4000) if port == "4000" else ("10.77.0.1", int(port))
            chat.sendto(text.encode() + b"\\n", to)
        else:
            print(r.recv(65536).decode(errors="replace").strip(), flush=True)
"""

    def __init__(self, cable):
        self.namespace = cable.beside
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", cable.beside, sys.executable, "-u", "-c", self.PROGRAM],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.hears("ready", 10)

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def say(self, port, text):
        self.process.stdin.write(f"{port} {text}\n")
        self.process.stdin.flush()

    def fetch(self, method, path, body=None, headers=None, port=80):
        """What the page at the machine answers this host's browser: status, head, body."""
        program = (
            "import http.client, json, sys\n"
            "method, path, body, head, port = json.load(sys.stdin)\n"
            "c = http.client.HTTPConnection('10.77.0.1', port, timeout=20)\n"
            "c.request(method, path, body, head)\n"
            "a = c.getresponse()\n"
            "print(json.dumps([a.status, dict(a.getheaders()), a.read().decode('latin-1')]))")
        return json.loads(self._python(program, json.dumps(
            [method, path, body, headers or {}, port])))

    def mdns(self, name, kind):
        """What the LAN says by multicast DNS of a name (RFC 6762), as raw bytes."""
        program = (
            "import socket, struct, sys, time\n"
            "name, kind = sys.stdin.read().split()\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
            "s.bind(('', 5353))\n"
            "own = socket.inet_aton('10.77.0.2')\n"
            "s.setsockopt(0, socket.IP_MULTICAST_IF, own)\n"
            "s.setsockopt(0, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('224.0.0.251') + own)\n"
            "s.settimeout(1)\n"
            "asked = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + b'\\0'\n"
            "for _ in range(10):\n"
            "    s.sendto(struct.pack('!6H', 0, 0, 1, 0, 0, 0) + asked + struct.pack('!2H', int(kind), 1),"
            " ('224.0.0.251', 5353))\n"
            "    end = time.monotonic() + 1\n"
            "    while time.monotonic() < end:\n"
            "        try:\n"
            "            data, who = s.recvfrom(9000)\n"
            "        except socket.timeout:\n"
            "            break\n"
            "        if who[0] == '10.77.0.1' and data[2] & 0x80 and asked[:-1] in data:\n"
            "            print(data.hex())\n"
            "            sys.exit()\n")
        return bytes.fromhex(self._python(program, f"{name} {kind}").strip())

    def _python(self, program, text):
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, sys.executable, "-c", program], input=text,
            stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout

    def forget(self):
        while not self.lines.empty():
            self.lines.get()

    def hears(self, begin, seconds):
        """The next line that begins so; what comes before it is dropped."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                fail(f"nobody said {begin!r} within {seconds} s")
            if line.startswith(begin):
                return line


class Machine:
    """The machine, booted."""

    def __init__(self, root, cable, share):
        self.log = open(os.path.join(share, "boot.log"), "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--volatile=overlay",
             f"--directory={root}", f"--bind-ro={share}:/share", "--console=pipe",
             f"--network-namespace-path=/run/netns/{cable.machine}", "--boot"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        atexit.register(self.off)
        self.leader = wait("the machine's first process", 20, self._leader)
        state = ""

        def booted():
            nonlocal state
            if self.process.poll() is not None:
                self.log.seek(0)
                fail("the machine does not boot: " + self.log.read()[-2000:])
            state = self.run("systemctl is-system-running", check=False).strip()
            return state in ("running", "degraded")

        wait("boot", 90, booted)
        self.booted = state

    def _leader(self):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                    fields = dict(line.split(":", 1) for line in file if ":" in line)
            except OSError:
                continue
            inner = fields.get("NSpid", "").split()
            if fields["PPid"].strip() == str(self.process.pid) and inner[1:] == ["1"]:
                return pid
        return None

    def command(self, line, user=None):
        words = ["nsenter", "--target", self.leader, "--all", "--", "env", "-i"]
        words += [f"{k}={v}" for k, v in ENV.items()]
        if user:
            words += ["setpriv", f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups"]
        return words + ["sh", "-c", line]

    def run(self, line, check=True, user=None, seconds=120):
        """What a command says, stderr included. `check`: it must end well."""
        done = subprocess.run(self.command(line, user), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                              timeout=seconds, check=False)
        if check and done.returncode != 0:
            fail(f"{line}: exit code {done.returncode}: {done.stdout}")
        self.code = done.returncode
        return done.stdout

    def start(self, line):
        """A command that goes on, its stdout to be read."""
        process = subprocess.Popen(self.command(line), stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        atexit.register(process.kill)
        return process

    def show(self, name, unit="klatsch.service"):
        return self.run(f"systemctl show --value -p {name} {unit}").strip()

    def off(self):
        if self.process.poll() is None:
            try:
                self.run("systemctl poweroff --force --force", check=False, seconds=10)
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
