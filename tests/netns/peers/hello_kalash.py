"""As Kalash004's alpha4-chat: hello from a port of its own, connections anew every 5 s to whoever
answered, ids as numbers, and a server that demands `peer_id` in a message and stamps it anew.

usage and lines: as hello_vanis.py
"""
import json
import socket
import threading
import time

from hello_vanis import PORT, Vanis, say


class Kalash(Vanis):
    def __init__(self):
        super().__init__()
        self.other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.other.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.other.bind(("", 0))
        self.answered = set()    # (ip, port) of every "ok"
        self.waiting = []        # of what was typed, until the next round

    def shout(self):
        while True:
            self.other.sendto(self.hello(), (self.broadcast, PORT))
            time.sleep(5)

    def hear_answers(self):
        while True:
            data, source = self.other.recvfrom(65535)
            said = json.loads(data.decode())
            if said.get("status") == "ok" and said["peer_id"] != self.name:
                with self.lock:
                    if source not in self.answered:
                        self.answered.add(source)
                        say(knows=said["peer_id"])

    def met(self, source, said):
        pass

    def rounds(self):
        while True:
            time.sleep(5)
            with self.lock:
                places = list(self.answered)
                waiting = list(self.waiting) if places else []
                self.waiting = self.waiting[len(waiting):]
            for place in places:
                try:
                    self.round(place, waiting)
                except Exception as error:
                    say(error=f"{place}: {type(error).__name__}: {error}")

    def round(self, place, waiting):
        with socket.create_connection(place, 5) as s:
            s.settimeout(30)
            s.sendall(self.hello("\n"))
            self.merge(json.loads(s.recv(65536).decode())["messages"])
            for now, text in waiting:
                said = {"command": "new_message", "message": text, "peer_id": self.name}
                s.sendall(self.encode(said | {"message_id": now}))
                answer = json.loads(s.recv(65536).decode())
                if answer == {"status": "ok"}:
                    say(delivered=text)
                else:
                    say(error=f"{text}: {answer}")

    def send(self, text):
        now = int(time.time() * 1000)
        with self.lock:
            self.messages[str(now)] = {"peer_id": self.name, "message": text}
            self.waiting.append((now, text))

    def take(self, s, said, name):
        if "peer_id" not in said:
            request = json.dumps(said, separators=(",", ":"))
            error = f"Missing peer_id in request {request}"
            s.sendall(self.encode({"status": "error", "message": error}))
            return False
        now = str(int(time.time() * 1000))
        with self.lock:
            self.messages[now] = {"peer_id": said["peer_id"], "message": said["message"]}
        s.sendall(self.encode({"status": "ok"}))
        say(text=[said["peer_id"], said["message"]])
        return True

    def threads(self):
        return super().threads() + [self.hear_answers, self.rounds]


if __name__ == "__main__":
    Kalash().run()
