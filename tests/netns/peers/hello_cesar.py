"""As cesarjakub's alpha_4, the seed: hello every 2 s from a port of its own, no TCP server; it
connects to where a hello came from, says its history unasked, and reads what comes over that.

usage and lines: as hello_vanis.py
"""
import json
import socket
import sys
import threading
import time

from hello_vanis import PORT, say


class Cesar:
    def __init__(self):
        self.name, self.broadcast = sys.argv[1:3]
        self.messages = {"1707243010934": {"peer_id": self.name, "message": "pokus"}}
        self.streams = {}
        self.lock = threading.RLock()
        self.listen = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.listen.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listen.bind(("", PORT))
        self.shouting = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.shouting.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    def line(self, value):
        return (json.dumps(value) + "\n").encode()

    def shout(self):
        while True:
            hello = self.line({"command": "hello", "peer_id": self.name})
            self.shouting.sendto(hello, (self.broadcast, PORT))
            time.sleep(2)

    def hear(self):
        while True:
            data, source = self.listen.recvfrom(4096)
            said = json.loads(data.decode())
            if said.get("command") != "hello" or said["peer_id"] == self.name:
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(self.line({"status": "ok", "peer_id": self.name}), source)
            with self.lock:
                if source[0] in self.streams:
                    continue
                self.streams[source[0]] = None
            threading.Thread(
                target=self.session, args=(source, said["peer_id"]), daemon=True).start()

    def session(self, source, name):
        try:
            with socket.create_connection(source, 5) as s:
                s.sendall(self.line({"command": "hello", "peer_id": self.name}))
                history = json.loads(s.recv(4096).decode())["messages"]
                say(history=[[m["peer_id"], m["message"]] for m in history.values()])
                s.sendall(self.line({"status": "ok", "messages": self.messages}))
                s.settimeout(None)
                self.streams[source[0]] = s
                say(knows=name)
                while data := s.recv(4096):
                    said = json.loads(data.decode())
                    if said.get("command") == "new_message":
                        say(text=[name, said["message"]])
                        s.sendall(self.line({"status": "ok"}))
                    elif said == {"status": "ok"}:
                        say(delivered=True)
                    else:
                        say(error=f"unasked: {said}")
        except Exception as error:
            say(error=f"{source}: {type(error).__name__}: {error}")
        with self.lock:
            del self.streams[source[0]]

    def send(self, text):
        now = str(int(time.time() * 1000))
        said = {"command": "new_message", "message_id": now, "message": text}
        for s in list(self.streams.values()):
            s.sendall(self.line(said))

    def run(self):
        for act in (self.shout, self.hear):
            threading.Thread(target=act, daemon=True).start()
        say(ready=True)
        for line in sys.stdin:
            verb, *rest = line.rstrip("\n").split(" ", 1)
            if verb == "msg":
                self.send(rest[0])


Cesar().run()
