#!/usr/bin/env python3
"""Asks one box WHO four times a second, and beside each WHO a bare peer, over and over until the
box has answered. It tells a late box from a late machine: while a datagram to a process that does
nothing else stays unanswered, or this process is not woken when it asked to be, there was no
processor for the box either.

    asker.py SOCKET    asks the box at this control socket; a line of JSON for each WHO
    asker.py           is the bare peer

Both run in the namespace of the bare peer, each box's asker a process of its own: nothing that the
soak does itself, in threads of one interpreter, makes an answer late."""

import json
import select
import socket
import sys
import time

from lab import Client

BARE = ("127.0.0.1", 7)
EVERY = 0.25  # seconds between two WHO
TIMEOUT = 5
AGAIN = 0.01  # after the bare peer's answer it is asked again
STALL = 0.02  # what the bare peer takes on any machine counts for nothing


def answer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bare:
        bare.bind(BARE)
        while True:
            data, who = bare.recvfrom(64)
            bare.sendto(data, who)


class Beside:
    """The bare peer, asked while a WHO is out. `stalled`: seconds that were the machine's."""

    def __init__(self, begun):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect(BARE)
        self.n, self.stalled = 0, 0.0
        self.ask(begun)

    def ask(self, now):
        self.n += 1
        self.asked, self.again = now, None
        try:
            self.socket.send(b"%d" % self.n)
        except OSError:
            pass  # it is not there: nothing is the machine's

    def count(self, seconds):
        self.stalled += seconds if seconds > STALL else 0

    def turn(self, now, until=None):
        """Reads what came. An answer after `until`, when the box had answered, counts to there."""
        if self.again is not None:
            self.count(now - self.again)
            return self.ask(now) if now >= self.again else None
        try:
            while self.socket.recv(64) != b"%d" % self.n:
                pass
        except OSError:
            return  # a lost one is never answered, and never counted
        self.count((until or now) - self.asked)
        self.again = now + AGAIN

    def pause(self, now):
        return max(0, self.again - now) if self.again is not None else TIMEOUT

    def end(self, until):
        """The last one may still be under way."""
        end = time.monotonic() + TIMEOUT
        while self.again is None and (now := time.monotonic()) < end:
            select.select([self.socket], [], [], end - now)
            self.turn(time.monotonic(), until)
        self.socket.close()


def who(path):
    begun = time.monotonic()
    beside, error = Beside(begun), None
    try:
        with Client(path, TIMEOUT) as client:
            client.say("Who")
            while b"\0" not in client.rest:
                now = time.monotonic()
                if now - begun > TIMEOUT:
                    raise TimeoutError
                ready = select.select([client.socket, beside.socket], [], [], beside.pause(now))[0]
                beside.turn(time.monotonic())
                if client.socket in ready:
                    data = client.socket.recv(65536)
                    if not data:
                        raise EOFError
                    client.rest += data
    except (OSError, EOFError) as problem:
        error = repr(problem)
    ended = time.monotonic()
    beside.end(ended)
    return {"begun": begun, "took": ended - begun, "machine": beside.stalled, "error": error}


def main():
    if len(sys.argv) == 1:
        answer()
    while True:
        print(json.dumps(who(sys.argv[1])), flush=True)
        time.sleep(EVERY)


main()
