"""The server of program 000, with its bug: a refused nickname takes its bearer's place out of
everyone's list, though he is still there.

usage: room_server.py lines|lengths
stdin: stop (closes all connections and the port) | start
stdout: {"ready": true}, {"registered": nick}, {"left": nick}, {"said": [nick, text]},
        {"error": text}
"""
import socket
import sys
import threading

from common import say
from room_wire import build, commands

FRAMING = sys.argv[1]


class Server:
    def __init__(self):
        self.clients = {}
        self.lock = threading.Lock()
        self.start()

    def start(self):
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("0.0.0.0", 9000))
        self.listener.listen()
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            clients, self.clients = self.clients, {}
        for conn, _, _ in clients.values():
            conn.shutdown(socket.SHUT_RDWR)
            conn.close()

    def accept(self, listener):
        while True:
            try:
                conn, source = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn, source[0]), daemon=True).start()

    def all(self, command, *args, but=None):
        for nick, (conn, _, _) in list(self.clients.items()):
            if nick != but:
                conn.sendall(build(FRAMING, command, *args))

    def serve(self, conn, ip):
        nick = None
        try:
            for words in commands(FRAMING, conn, 4096):
                command, *args = words
                with self.lock:
                    if command == "REGISTER":
                        nick, port = args
                        if nick in self.clients:
                            conn.sendall(build(FRAMING, "ERROR", "Nickname bereits vergeben"))
                            conn.close()
                            break
                        self.clients[nick] = (conn, ip, int(port))
                        say(registered=nick)
                        conn.sendall(build(FRAMING, "WELCOME", nick))
                        users = [f"{n}:{i}:{p}" for n, (_, i, p) in self.clients.items()]
                        conn.sendall(build(FRAMING, "USERLIST", *users))
                        self.all("USER_JOINED", nick, ip, port)
                    elif command == "BROADCAST":
                        sender, text = args[0], " ".join(args[1:])
                        say(said=[sender, text])
                        if FRAMING == "lines":
                            self.all("BROADCAST_MSG", sender, text, but=sender)
                        else:
                            self.all("BROADCAST", sender, text)
                    elif command == "QUIT":
                        break
                    else:
                        say(error=f"unknown: {words}")
        except Exception as error:
            if self.clients.get(nick, (None,))[0] is conn:
                say(error=f"{type(error).__name__}: {error}")
        with self.lock:
            if self.clients.get(nick, (None,))[0] is conn:
                del self.clients[nick]
                conn.close()
            say(left=nick)
            self.all("USER_LEFT", nick or "?")


server = Server()
say(ready=True)
for line in sys.stdin:
    getattr(server, line.strip())()
