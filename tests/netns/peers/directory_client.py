"""A client of program 003: logs in, reads the list, chats over TCP 5001. As the real one it
reads 100 bytes of a chat at once and decodes each read for itself.

usage: directory_client.py NAME SERVER_IP OWN_IP
stdin: refresh | wait (for a chat) | connect IP | pm TEXT | back | logout
stdout: {"ready": true}, {"users": [name …]}, {"chat": true}, {"text": read}, {"over": true},
        {"refused": ip}, {"loggedout": true}, {"error": text}
"""
import json
import socket
import sys
import threading

from common import say

NAME, SERVER, OWN = sys.argv[1:4]


class Client:
    def __init__(self):
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.settimeout(10)
        self.chat = None
        self.refresh()

    def ask(self, kind):
        request = json.dumps({"type": kind, "username": NAME})
        self.udp.sendto(request.encode(), (SERVER, 5000))
        return self.udp.recvfrom(1000)[0]

    def refresh(self):
        users = json.loads(self.ask("login").decode())
        assert all(len(place) == 2 for place in users.values()), users
        say(users=sorted(users))

    def logout(self):
        assert self.ask("logout") == b"logout success"
        say(loggedout=True)

    def wait(self):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((OWN, 5001))
        listener.listen(1)

        def accept():
            s, _ = listener.accept()
            listener.close()
            self.begin(s)
        threading.Thread(target=accept, daemon=True).start()
        say(waiting=True)

    def connect(self, ip):
        try:
            s = socket.create_connection((ip, 5001), 5)
        except ConnectionRefusedError:
            say(refused=ip)
            return
        s.settimeout(None)
        self.begin(s)

    def begin(self, s):
        self.chat = s
        say(chat=True)
        threading.Thread(target=self.hear, args=(s,), daemon=True).start()

    def hear(self, s):
        try:
            while data := s.recv(100):
                say(text=data.decode())
            say(over=True)
        except OSError:
            pass
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}")

    def pm(self, text):
        self.chat.sendall(f"{NAME}: {text}".encode())

    def back(self):
        self.pm("/back")  # the connection stays until the program ends


client = Client()
say(ready=True)
for line in sys.stdin:
    verb, *rest = line.rstrip("\n").split(" ", 1)
    try:
        getattr(client, verb)(*rest)
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")
