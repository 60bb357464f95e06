"""What all the peers share: sockets, a roster, commands on stdin, JSON lines on stdout.

Each peer is a chat program cut down to its wire: it says exactly what that program says, and
understands exactly what that program understands (PROTOCOLS; the captures), no more.

usage: PEER.py HANDLE PORT OWN_IP BROADCAST_IP [more]
stdin: msg HANDLE TEXT | img HANDLE PATH | leave
stdout: {"ready": true}, {"knows": handle}, {"text": [from, text]}, {"image": [from, sha256]},
        {"gone": handle}, {"error": text}
"""
import hashlib
import json
import socket
import sys
import threading
import time

DISCOVERY = 4000


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Peer:
    newline = "\n"          # after JOIN and WHO
    join_from = "chat"      # chat, discovery or other
    word = "KNOWUSERS"
    between = ", "
    list_newline = "\n"
    chat_is_tcp = False

    def __init__(self):
        self.handle, port, self.ip, self.broadcast = sys.argv[1:5]
        self.port = int(port)
        self.more = sys.argv[5:]
        self.users = {}
        self.discovery = self.udp(DISCOVERY)
        self.chat = self.udp(self.port)
        self.listener = self.tcp(self.port)

    # sockets
    def udp(self, port):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("", port))
        return s

    def tcp(self, port):
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("", port))
        s.listen()
        return s

    def shout(self, text):
        data = text.encode()
        if self.join_from == "other":
            s = self.udp(0)
            s.sendto(data, (self.broadcast, DISCOVERY))
            s.close()
        else:
            s = self.chat if self.join_from == "chat" else self.discovery
            s.sendto(data, (self.broadcast, DISCOVERY))

    def to(self, handle, plus=0):
        ip, port = self.users[handle.lower()]
        return ip, port + plus

    def over_tcp(self, place, *parts):
        with socket.create_connection(place, 5) as s:
            for part in parts:
                s.sendall(part)

    # what it says
    def join(self):
        self.shout(f"JOIN {self.handle} {self.port}{self.newline}")

    def who(self):
        self.shout(f"WHO{self.newline}")

    def leave(self):
        self.shout(f"LEAVE {self.handle}{self.newline}")

    def known_users(self):
        everyone = {self.handle: (self.ip, self.port), **self.users}
        entries = self.between.join(f"{h} {ip} {p}" for h, (ip, p) in everyone.items())
        return f"{self.word} {entries}{self.list_newline}".encode()

    # what it hears
    def learn(self, handle, ip, port):
        if handle.lower() != self.handle.lower() and handle.lower() not in self.users:
            self.users[handle.lower()] = (ip, int(port))
            say(knows=handle)

    def on_discovery(self, data, source, sock):
        words = data.decode().split()
        if not words:
            return
        if words[0] == "JOIN" and len(words) == 3:
            self.learn(words[1], source[0], words[2])
        elif words[0] == "WHO":
            self.answer(source)
        elif words[0] == "LEAVE" and len(words) == 2:
            if self.users.pop(words[1].lower(), None):
                say(gone=words[1])
        elif words[0] in ("KNOWUSERS", "KNOWNUSERS"):
            self.on_list(data.decode())

    def on_list(self, text):
        for entry in text.split(None, 1)[1].split(","):
            handle, ip, port = entry.split()[:3]
            self.learn(handle, ip, port)

    def answer(self, source):
        self.discovery.sendto(self.known_users(), source)

    def on_chat(self, data, source):
        words = data.split(None, 1)
        if words and words[0] in (b"KNOWUSERS", b"KNOWNUSERS"):
            self.on_list(data.decode())

    def on_stream(self, s, source):
        pass

    def image(self, sender, data):
        say(image=[sender, hashlib.sha256(data).hexdigest()])

    # running
    def watched(self, act):
        def run():
            while True:
                try:
                    act()
                except Exception as error:
                    say(error=f"{type(error).__name__}: {error}")
                    time.sleep(0.1)
        threading.Thread(target=run, daemon=True).start()

    def listen_udp(self, s, act):
        def one():
            data, source = s.recvfrom(65535)
            act(data, source)
        self.watched(one)

    def listen_tcp(self, listener, act):
        def one():
            s, source = listener.accept()
            s.settimeout(10)
            with s:
                act(s, source)
        self.watched(one)

    def run(self):
        self.listen_udp(self.discovery, lambda d, s: self.on_discovery(d, s, self.discovery))
        self.listen_udp(self.chat, self.on_chat)
        self.listen_tcp(self.listener, self.on_stream)
        self.begin()
        self.join()
        self.who()
        say(ready=True)
        for line in sys.stdin:
            verb, *rest = line.rstrip("\n").split(" ", 2)
            try:
                if verb == "msg":
                    self.text_to(rest[0], rest[1])
                elif verb == "img":
                    with open(rest[1], "rb") as file:
                        self.image_to(rest[0], file.read())
                elif verb == "leave":
                    self.leave()
            except Exception as error:
                say(error=f"{type(error).__name__}: {error}")

    def begin(self):
        pass


def until_end(s):
    data = b""
    while piece := s.recv(65536):
        data += piece
    return data


def exactly(s, size, data=b""):
    while len(data) < size:
        piece = s.recv(size - len(data))
        if not piece:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += piece
    return data


def line_of(s):
    """One line, byte by byte, or all there is."""
    data = b""
    while not data.endswith(b"\n"):
        piece = s.recv(1)
        if not piece:
            break
        data += piece
    return data
