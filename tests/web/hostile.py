#!/usr/bin/env python3
"""Slow and hostile clients against the page's server: each is refused, the daemon's memory stays
bounded, and a guest is served all the while. Run by tests/web/run.sh, in a network namespace."""
import http.client
import json
import os
import socket
import sys
import threading
import time

PORT = int(os.environ.get("PORT", "8484"))
PID = int(os.environ["KLATSCH_PID"])
HOST = "127.0.0.1"


def memory():
    """Resident private bytes, in kB."""
    with open(f"/proc/{PID}/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1])


def ask(method, path, body=None, headers=None, source=HOST, timeout=10):
    connection = http.client.HTTPConnection(HOST, PORT, timeout=timeout, source_address=(source, 0))
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), data


def raw(data, source=HOST, wait=5):
    s = socket.socket()
    s.bind((source, 0))
    s.settimeout(wait)
    s.connect((HOST, PORT))
    try:
        s.sendall(data)
        return s.recv(4096)
    except (ConnectionError, socket.timeout) as error:
        return repr(error).encode()
    finally:
        s.close()


def must(holds, what):
    print(("ok   " if holds else "NOT OK   ") + what, flush=True)
    if not holds:
        must.failed += 1


must.failed = 0


class Guest(threading.Thread):
    """Somebody from another address who chats with himself all the while."""

    def __init__(self):
        super().__init__(daemon=True)
        status, headers, _ = ask("POST", "/api/v1/session", {"handle": "calm"}, source="127.0.0.9")
        assert status == 200, status
        self.cookie = {"Cookie": headers["set-cookie"].split(";")[0]}
        self.slowest, self.bad, self.count, self.on = 0, 0, 0, True

    def run(self):
        while self.on:
            begun = time.monotonic()
            try:
                status, _, _ = ask("GET", "/api/v1/Who", headers=self.cookie, source="127.0.0.9")
                self.bad += status != 200
            except OSError:
                self.bad += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.count += 1
            time.sleep(0.05)


guest = Guest()
guest.start()
time.sleep(0.5)
before = memory()

# names that are not ours, and other sites' pages
status, _, _ = ask("GET", "/", headers={"Host": "evil.example"})
must(status == 421, f"a rebound Host is refused ({status})")
status, _, _ = ask("POST", "/api/v1/session", {"handle": "x"}, {"Origin": "http://evil.example"})
must(status == 403, f"a cross-site POST is refused ({status})")
status, _, _ = ask("POST", "/plain/enter", b"handle=x", {"Origin": "null", "Content-Type": "application/x-www-form-urlencoded"})
must(status == 403, f"a form of a page without origin is refused ({status})")
status, _, _ = ask("POST", "/api/v1/session", b'{"handle":"x"}', {"Content-Type": "text/plain"})
must(status == 415, f"JSON under another type, as a form could send it, is refused ({status})")

# heads and bodies without end
answer = raw(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: " + b"a" * 100_000)
must(b"431" in answer or b"Connection" in answer, f"an endless head is cut off ({answer[:40]})")
answer = raw(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 200 + b"\r\n")
must(b"431" in answer, f"a head of 200 lines is refused ({answer[:40]})")
answer = raw(b"POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n" + b"x" * 65536)
must(b"413" in answer, f"a body of 1 GB is refused at once ({answer[:40]})")
s = socket.create_connection((HOST, PORT))
s.sendall(b"POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
sent = 0
try:
    while sent < 1 << 30:
        s.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        sent += 65536
except OSError:
    pass
s.close()
must(sent < 16 << 20, f"a body without a length is cut off after {sent} bytes")
must(memory() - before < 2048, f"memory after that: {memory()} kB private, {before} before")

# a reader that does not read: it is looked at again in the end
idle = socket.socket()
idle.settimeout(1)
idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
idle.connect((HOST, PORT))
for _ in range(200):
    try:
        idle.send(b"GET /app.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    except OSError:
        break
time.sleep(2)
must(memory() - before < 8192, f"a reader that does not read: {memory()} kB private")
idle_since = time.monotonic()

# 1,000 connections from one address, none of which says anything
silent = []
for _ in range(1000):
    try:
        c = socket.socket()
        c.bind(("127.0.0.2", 0))
        c.settimeout(2)
        c.connect((HOST, PORT))
        silent.append(c)
    except OSError:
        break
time.sleep(1)
fds = len(os.listdir(f"/proc/{PID}/fd"))
must(fds < 120, f"{len(silent)} silent connections from one address hold {fds} descriptors")
status, _, _ = ask("GET", "/healthz", source="127.0.0.3")
must(status == 200, "another address is served meanwhile")
for c in silent:
    c.close()

# 1,000 connections from 250 addresses, heads that come a byte a second (slowloris)
slow = []
for n in range(1000):
    try:
        c = socket.socket()
        c.bind((f"127.0.1.{n % 250 + 1}", 0))
        c.settimeout(2)
        c.connect((HOST, PORT))
        c.sendall(b"GET / HT")
        slow.append(c)
    except OSError:
        pass
peak = memory()
begun = time.monotonic()
while time.monotonic() - begun < 18:
    for c in slow:
        try:
            c.send(b"T")
        except OSError:
            pass
    time.sleep(1)
    peak = max(peak, memory())
gone = 0
for c in slow:
    try:
        c.setblocking(False)
        gone += c.recv(100) is not None
    except BlockingIOError:
        pass
    except OSError:
        gone += 1
must(gone == len(slow), f"slowloris: {gone} of {len(slow)} connections are closed after 18 s")
must(peak - before < 8192, f"memory at its peak: {peak} kB private, {before} before")
for c in slow:
    c.close()

# nonsense
for data in [b"\0" * 1000, b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n"]:
    answer = raw(data)
    must(b" 200 " not in answer, f"nonsense is refused: {data[:40]!r} -> {answer[:30]!r}")

# half acts: who hangs up while his request is carried out leaves nothing behind
def operate(method, parameters=None):
    return ask("POST", f"/api/v1/{method}", parameters or {}, operator, source="127.0.0.8")


_, headers, _ = ask("POST", "/api/v1/operator", {"pin": "4711"}, source="127.0.0.8")
operator = {"Cookie": headers["set-cookie"].split(";")[0]}


def hang_up(name, address):
    body = json.dumps({"handle": name}).encode()
    s = socket.socket()
    s.bind((address, 0))
    s.connect((HOST, PORT))
    s.sendall(b"POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    s.close()


def users():
    return [user["handle"] for user in json.loads(operate("Status")[2])["users"]]


for n in range(40):
    hang_up(f"ghost{n}", f"127.0.3.{n % 10 + 1}")
    hang_up("box", f"127.0.3.{n % 10 + 1}")
time.sleep(1)
here = [g["handle"] for g in json.loads(ask("GET", "/api/v1/guests", headers=operator, source="127.0.0.8")[2])["guests"] if g["here"]]
ghosts = [name for name in users() if name not in here and name != "box"]
must(not ghosts, f"who hung up while coming in is a guest or nobody: {ghosts}")
status, _, _ = operate("SetPresence", {"user": "box", "away": False})
must(status == 200, f"the node's own user is still its own after guests asked for his name ({status})")
for ghost in [name for name in here if name.startswith("ghost")]:
    one = next(g["id"] for g in json.loads(ask("GET", "/api/v1/guests", headers=operator, source="127.0.0.8")[2])["guests"] if g["handle"] == ghost)
    ask("POST", f"/api/v1/guests/{one}", {"act": "kick"}, operator, source="127.0.0.8")

# many uploads begun in the same moment
_, headers, _ = ask("POST", "/api/v1/session", {"handle": "loader"}, source="127.0.4.1")
loader = {"Cookie": headers["set-cookie"].split(";")[0]}
begun = []


def begin():
    begun.append(ask("POST", "/api/v1/uploads", {"name": "a", "size": 9}, loader, source="127.0.4.1")[0])


threads = [threading.Thread(target=begin) for _ in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
must(begun.count(201) == 3, f"of 20 uploads begun at once by one guest {begun.count(201)} are taken")

# who knows the PIN of the house guesses that of the operator
operate("Config", {"key": "web.pin", "value": "1111"})
answers = []
for n in range(8):
    answers.append(ask("POST", "/api/v1/operator", {"pin": f"{n}"}, source="127.0.5.1")[0])
    ask("POST", "/api/v1/session", {"handle": "", "pin": "1111"}, source="127.0.5.1")
must(answers[-1] == 429, f"the PIN of the house forgives no wrong PIN of the operator's: {answers}")
operate("Config", {"key": "web.pin", "value": ""})

# a ban is for where a guest is now
_, headers, _ = ask("POST", "/api/v1/session", {"handle": "mover"}, source="127.0.6.1")
mover = {"Cookie": headers["set-cookie"].split(";")[0]}
ask("GET", "/api/v1/Who", headers=mover, source="127.0.6.2")
one = next(g["id"] for g in json.loads(ask("GET", "/api/v1/guests", headers=operator, source="127.0.0.8")[2])["guests"] if g["handle"] == "mover")
ask("POST", f"/api/v1/guests/{one}", {"act": "ban"}, operator, source="127.0.0.8")
status, _, _ = ask("POST", "/api/v1/session", {"handle": "mover"}, source="127.0.6.2")
must(status == 403, f"who moved to another address is banned there ({status})")

# downloads that are begun and not taken, from four addresses
_, headers, _ = ask("POST", "/api/v1/session", {"handle": "sharer"}, source="127.0.7.1")
sharer = {"Cookie": headers["set-cookie"].split(";")[0]}
SIZE = 8 << 20
_, _, made = ask("POST", "/api/v1/uploads", {"name": "big", "size": SIZE}, sharer, source="127.0.7.1")
made = json.loads(made)["id"]
status, _, _ = ask("PATCH", f"/api/v1/uploads/{made}", b"x" * SIZE, dict(sharer, **{"Upload-Offset": "0"}), source="127.0.7.1")
must(status == 200, f"a file of 8 MB is uploaded ({status})")
ask("POST", "/api/v1/SendFile", {"to": ["#lobby"], "upload": made}, sharer, source="127.0.7.1")
time.sleep(0.5)
_, _, said = ask("GET", "/api/v1/History?with=%23lobby", headers=sharer, source="127.0.7.1")
place = [entry["body"]["text"] for entry in json.loads(said)["entries"]][-1].split("8484")[-1]
held = []
for n in range(4 * 24):
    c = socket.socket()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.bind((f"127.0.7.{n % 4 + 2}", 0))
    c.settimeout(3)
    c.connect((HOST, PORT))
    c.sendall(f"GET {place} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    held.append(c)
time.sleep(1)
fds = sum(os.readlink(f"/proc/{PID}/fd/{fd}").endswith(".bin") for fd in os.listdir(f"/proc/{PID}/fd") if os.path.islink(f"/proc/{PID}/fd/{fd}"))
for n in range(4):
    status, _, body = ask("GET", place, source=f"127.0.7.{n + 10}", timeout=20)
    must((status, len(body)) == (200, SIZE), f"{len(held)} downloads that nobody takes hold {fds} files; another address has its own ({status}, {len(body)} bytes)")
must(memory() - before < 8192, f"memory meanwhile: {memory()} kB private, {before} before")
for c in held:
    c.close()

# all places of guests, with pages open, from four addresses
crowd, pages = [], []
for n in range(4 * 8):
    status, headers, _ = ask("POST", "/api/v1/session", {"handle": f"crowd{n}"}, source=f"127.0.8.{n % 4 + 1}")
    if status != 200:
        continue
    cookie = headers["set-cookie"].split(";")[0]
    c = socket.socket()
    c.bind((f"127.0.8.{n % 4 + 1}", 0))
    c.settimeout(3)
    c.connect((HOST, PORT))
    c.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode())
    c.recv(100)
    pages.append(c)
let_in = [ask("POST", "/api/v1/session", {"handle": f"later{n}"}, source=f"127.0.8.{n + 10}") for n in range(3)]
let_in = [200 if status == 200 else body for status, _, body in let_in]
must(let_in == [200] * 3, f"{len(pages)} guests of four addresses, all with pages: three from elsewhere come in: {let_in}")
status, _, _ = ask("GET", "/api/v1/Who", headers=guest.cookie, source="127.0.0.9")
must(status == 200, f"and who was there alone from his address stays ({status})")
for c in pages:
    c.close()

# by now the reader that does not read has been given up (WRITE_MS is 30 s)
while time.monotonic() - idle_since < 40:
    try:
        idle.send(b"G")
    except ConnectionError:
        break
    except OSError:
        pass
    time.sleep(0.5)
must(time.monotonic() - idle_since < 40, f"a reader that does not read is closed within {time.monotonic() - idle_since:.0f} s")
idle.close()

guest.on = False
guest.join()
must(guest.bad == 0 and guest.count > 100, f"a guest made {guest.count} calls meanwhile, {guest.bad} failed, the slowest took {guest.slowest * 1000:.0f} ms")
time.sleep(1)
print(f"memory in the end: {memory()} kB private dirty, {before} kB before")
sys.exit(1 if must.failed else 0)
