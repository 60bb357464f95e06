"""A LAN in this process's own network namespace: a bridge, a tap for each box, and on the bridge a
person with a program that speaks SLCP. The boxes have no DHCP server there: link-local addresses.
"""

import socket
import subprocess
import threading
import time

from box import Failed

BRIDGE = "lan"
OWN = "169.254.83.1"
EVERYONE = "169.254.255.255"
DISCOVERY = 4000
CHAT = 5010


def ip(*words):
    subprocess.run(["ip", *words], check=True, timeout=20)


def make(taps):
    """Refuses to work in the machine's own network."""
    if any(name != "lo" for _, name in socket.if_nameindex()):
        raise SystemExit("to be run in a network namespace of its own: tests/image/run does")
    ip("link", "set", "lo", "up")
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("addr", "add", OWN + "/16", "broadcast", EVERYONE, "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    for tap in taps:
        ip("tuntap", "add", tap, "mode", "tap")
        ip("link", "set", tap, "master", BRIDGE, "up")


class Person:
    """Somebody with an SLCP program: hears what comes to its ports, texts by UDP, images by TCP."""

    def __init__(self, handle):
        self.handle = handle
        self.heard = []  # (port it came to, from whom, bytes)
        self.lock = threading.Lock()
        self.sockets = [self._bind(DISCOVERY), self._bind(CHAT)]
        for port, end in zip((DISCOVERY, CHAT), self.sockets):
            threading.Thread(target=self._hear, args=(port, end), daemon=True).start()
        self.door = socket.create_server(("", CHAT))
        threading.Thread(target=self._open, daemon=True).start()

    @staticmethod
    def _bind(port):
        end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end.bind(("", port))
        return end

    def _hear(self, port, end):
        while True:
            data, who = end.recvfrom(65536)
            if who[0] == OWN:
                continue
            with self.lock:
                self.heard.append((port, who, data))

    def _open(self):
        """What comes over a connection counts as heard when its end is reached."""
        while True:
            end, who = self.door.accept()
            end.settimeout(20)
            data = b""
            try:
                while piece := end.recv(65536):
                    data += piece
            except OSError:
                pass
            with self.lock:
                self.heard.append((CHAT, who, data))

    def hand(self, data, to):
        """Over a connection of its own, as images are sent."""
        with socket.create_connection(to, timeout=20) as end:
            end.sendall(data)

    def say(self, text, to=(EVERYONE, DISCOVERY)):
        self.sockets[1].sendto(text if isinstance(text, bytes) else text.encode() + b"\n", to)

    def join(self):
        self.say(f"JOIN {self.handle} {CHAT}")

    def wait(self, what, matches, seconds=60, repeat=None):
        """The first thing heard that matches; says something again meanwhile."""
        end, again = time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            if repeat and time.monotonic() > again:
                repeat()
                again = time.monotonic() + 5
            with self.lock:
                for port, who, data in self.heard:
                    if matches(port, who, data):
                        return who, data
            time.sleep(0.2)
        with self.lock:
            raise Failed(f"{self.handle} did not hear {what}; heard: {self.heard[-20:]}")

    def where(self, handle):
        """Address and chat port of a user, as its JOIN said."""
        begin = f"JOIN {handle} ".encode()
        who, data = self.wait(f"{handle} joining", lambda p, w, d: d.startswith(begin),
                              repeat=lambda: self.say("WHO"))
        return who[0], int(data.split()[2])
