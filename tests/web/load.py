#!/usr/bin/env python3
"""40 pages with a stream of events open, chatting with everyone; beside it ngircd with 40 clients
in one channel, on the same machine in the same run. Prints memory for each page or client and
the time from sending a line to its arrival at another. Run by tests/web/run.sh."""
import http.client
import json
import os
import select
import socket
import statistics
import sys
import time

PORT = int(os.environ.get("PORT", "8484"))
PAGES = 30  # guests that the node has room for (web.guests)
STREAMS = 40  # pages open: some guests have two windows
LINES = 100


def memory(pid, what="Pss"):
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith(what + ":"):
                return int(line.split()[1])


def say(name, idle, full, count, times):
    times.sort()
    print(f"{name}: PSS {idle} kB with nobody, {full} kB with {count}: {(full - idle) / count:.1f} kB each; "
          f"a line to {count - 1} others: median {statistics.median(times) * 1000:.2f} ms, p99 {times[int(len(times) * 0.99) - 1] * 1000:.2f} ms")


def drained(sockets, end, ends_with=None):
    """Reads from all until each has seen `end`; when each did."""
    seen, begun = {}, time.monotonic()
    buffers = {s: b"" for s in sockets}
    while len(seen) < len(sockets) and time.monotonic() - begun < 10:
        ready, _, _ = select.select([s for s in sockets if s not in seen], [], [], 1)
        for s in ready:
            buffers[s] += s.recv(65536)
            if end in buffers[s]:
                seen[s] = time.monotonic()
    return seen


def pages():
    pid = int(os.environ["KLATSCH_PID"])
    idle = memory(pid)
    guests, streams = [], []
    for n in range(PAGES):
        c = http.client.HTTPConnection("127.0.0.1", PORT, source_address=(f"127.0.2.{n + 1}", 0))
        c.request("POST", "/api/v1/session", json.dumps({"handle": f"page{n}"}), {"Content-Type": "application/json"})
        answer = c.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        guests.append((c, answer.getheader("set-cookie").split(";")[0]))
    for n in range(STREAMS):
        _, cookie = guests[n % PAGES]
        s = socket.socket()
        s.bind((f"127.0.2.{n % PAGES + 1}", 0))
        s.connect(("127.0.0.1", PORT))
        s.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode())
        streams.append(s)
    drained(streams, b'"ready"')
    times = []
    for n in range(LINES):
        c, cookie = guests[n % PAGES]
        mark = f"line-{n}-end"
        begun = time.monotonic()
        c.request("POST", "/api/v1/Send", json.dumps({"to": ["#lobby"], "text": mark}), {"Content-Type": "application/json", "Cookie": cookie})
        seen = drained(streams, mark.encode())
        assert len(seen) == STREAMS, f"{len(seen)} of {STREAMS} heard line {n}"
        times.extend(at - begun for at in seen.values())
        answer = c.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
    say("klatsch, pages", idle, memory(pid), STREAMS, times)


def ngircd():
    pid = int(os.environ["NGIRCD_PID"])
    idle = memory(pid)
    clients = []
    for n in range(STREAMS):
        s = socket.create_connection(("127.0.0.1", 6667))
        s.sendall(f"NICK page{n}\r\nUSER page{n} 0 * :x\r\n".encode())
        drained([s], b" 001 ")
        s.sendall(b"JOIN #all\r\n")
        drained([s], b" 366 ")
        clients.append(s)
    time.sleep(0.5)
    times = []
    for n in range(LINES):
        one, mark = clients[n % STREAMS], f"line-{n}-end"
        begun = time.monotonic()
        one.sendall(f"PRIVMSG #all :{mark}\r\n".encode())
        seen = drained([s for s in clients if s is not one], mark.encode())
        assert len(seen) == STREAMS - 1
        times.extend(at - begun for at in seen.values())
        time.sleep(0.02)
    say("ngircd, clients", idle, memory(pid), STREAMS, times)


pages()
if "NGIRCD_PID" in os.environ:
    ngircd()
