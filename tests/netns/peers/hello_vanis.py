"""As vanis's alfa-4-ts: hello every 5 s from 9876, a permanent connection to everyone who answers,
one json.loads for whatever one recv brings, and dead for good on a datagram that is no JSON.

usage: hello_vanis.py NAME BROADCAST_IP [OLD_MESSAGE]
stdin: msg TEXT | raw HOST TEXT
stdout: {"ready": true}, {"knows": name}, {"text": [from, text]}, {"delivered": text},
        {"history": [[from, text], …]}, {"stands": ip} (a connection that it made and sends over),
        {"raw": answer}, {"error": text}
"""
import json
import socket
import sys
import threading
import time

PORT = 9876


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Vanis:
    name_in_messages = False

    def __init__(self):
        self.name, self.broadcast = sys.argv[1:3]
        self.lock = threading.RLock()
        self.messages = {}
        self.peers = {}      # ip -> name
        self.out = {}        # ip -> connection that we made
        if len(sys.argv) > 3:
            self.messages["1707243010934"] = {"peer_id": self.name, "message": sys.argv[3]}
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.udp.bind(("", PORT))
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(("", PORT))
        self.tcp.listen()

    def encode(self, value, end="\n"):
        return (json.dumps(value, ensure_ascii=False, separators=(",", ":")) + end).encode()

    def hello(self, end=""):
        return self.encode({"command": "hello", "peer_id": self.name}, end)

    # UDP
    def shout(self):
        while True:
            self.udp.sendto(self.hello(), (self.broadcast, PORT))
            time.sleep(5)

    def hear(self):
        while True:
            data, source = self.udp.recvfrom(65535)
            try:
                said = json.loads(data.decode())
            except ValueError:
                say(error=f"non-JSON UDP from {source}: {data!r}")
                sys.exit(1)
            if said.get("peer_id") == self.name:
                continue
            if said.get("command") == "hello":
                self.udp.sendto(self.encode({"status": "ok", "peer_id": self.name}, ""), source)
            self.met(source, said)

    def met(self, source, said):
        if "peer_id" not in said:
            return
        ip = source[0]
        with self.lock:
            if self.peers.get(ip) != said["peer_id"]:
                self.peers[ip] = said["peer_id"]
                say(knows=said["peer_id"])
            if ip in self.out:
                return
            self.out[ip] = None
        threading.Thread(target=self.connect, args=(ip,), daemon=True).start()

    # TCP, as client
    def connect(self, ip):
        try:
            s = socket.create_connection((ip, PORT), 5)
            s.settimeout(30)
            s.sendall(self.hello("\n"))
            self.merge(json.loads(s.recv(65536).decode())["messages"])
            with self.lock:
                self.out[ip] = s
            say(stands=ip)
        except Exception as error:
            say(error=f"connecting to {ip}: {type(error).__name__}: {error}")
            with self.lock:
                del self.out[ip]

    def merge(self, messages):
        with self.lock:
            self.messages.update(messages)
        say(history=[[m["peer_id"], m["message"]] for _, m in sorted(self.messages.items())])

    def send(self, text):
        now = str(int(time.time() * 1000))
        with self.lock:
            self.messages[now] = {"peer_id": self.name, "message": text}
            streams = [s for s in self.out.values() if s]
        for s in streams:
            s.sendall(self.new_message(now, text))
            answer = json.loads(s.recv(65536).decode())
            if answer == {"status": "ok"}:
                say(delivered=text)
            else:
                say(error=f"{text}: {answer}")

    def new_message(self, now, text):
        return self.encode({"command": "new_message", "message": text, "message_id": now})

    # TCP, as server
    def serve(self):
        while True:
            s, source = self.tcp.accept()
            threading.Thread(target=self.session, args=(s, source), daemon=True).start()

    def session(self, s, source):
        name = None
        while data := s.recv(65536):
            try:
                said = json.loads(data.decode())
            except ValueError:
                say(error=f"more or less than one object in a segment: {data!r}")
                s.sendall(self.encode({"status": "error", "error": "Invalid JSON"}))
                continue
            if said.get("command") == "hello":
                name = said["peer_id"]
                s.sendall(self.encode({"status": "ok", "messages": self.messages}))
                self.met(source, said)
            elif said.get("command") == "new_message":
                if name is None:
                    error = "Make TCP handshake before this command"
                    s.sendall(self.encode({"status": "error", "error": error}))
                    continue
                if not self.take(s, said, name):
                    break
            else:
                say(error=f"unasked: {said}")
                s.sendall(self.encode({"status": "error", "error": "Invalid comand"}))
        s.close()

    def take(self, s, said, name):
        assert set(said) - {"peer_id"} == {"command", "message", "message_id"}, said
        with self.lock:
            new = said["message_id"] not in self.messages
            self.messages[said["message_id"]] = {"peer_id": name, "message": said["message"]}
        s.sendall(self.encode({"status": "ok"}))
        if new:
            say(text=[name, said["message"]])
        return True

    def raw(self, host, text):
        """Bytes as they are typed in, and what is answered until a second of silence."""
        with socket.create_connection((host, PORT), 5) as s:
            s.sendall(text.encode().decode("unicode_escape").encode("latin-1"))
            s.settimeout(10)
            answer = b""
            try:
                while piece := s.recv(65536):
                    answer += piece
                    s.settimeout(1)
            except TimeoutError:
                pass
            say(raw=answer.decode())

    def threads(self):
        return [self.shout, self.hear, self.serve]

    def run(self):
        for act in self.threads():
            threading.Thread(target=act, daemon=True).start()
        say(ready=True)
        for line in sys.stdin:
            verb, *rest = line.rstrip("\n").split(" ", 1)
            try:
                if verb == "msg":
                    self.send(rest[0])
                elif verb == "raw":
                    self.raw(*rest[0].split(" ", 1))
            except Exception as error:
                say(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    Vanis().run()
