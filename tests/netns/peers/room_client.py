"""A client of program 000: registers at a server, broadcasts, private chats both ways.

usage: room_client.py lines|lengths NICK SERVER_IP
stdin: all TEXT | ask NICK | yes | no | pm NICK TEXT | close NICK | quit | mute (reads no more)
stdout: {"ready": true}, {"welcome": nick}, {"users": [nick …]}, {"text": [nick, text]},
        {"refused": text} (ERROR), {"asked": ip}, {"chat": nick}, {"pm": [nick, text]},
        {"over": nick}, {"rejected": ip}, {"answers": yes or no}, {"error": text}, {"lost": true}
`yes` and `no`: how the next requests are answered; at first yes.
"""
import socket
import sys
import threading
import time

from common import say
from room_wire import build, commands, packet, unpack

FRAMING, NICK, SERVER = sys.argv[1:4]
END = "[DISCONNECT]\n" if FRAMING == "lines" else "[DISCONNECT]"


class Client:
    def __init__(self):
        self.users = {}
        self.chats = {}
        self.answer = True
        self.muted = False
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("", 0))
        self.server = socket.create_connection((SERVER, 9000), 5)
        self.server.settimeout(None)
        self.server.sendall(build(FRAMING, "REGISTER", NICK, str(self.udp.getsockname()[1])))
        for act in (self.hear, self.listen):
            threading.Thread(target=act, daemon=True).start()

    def tell_users(self):
        say(users=sorted(self.users))

    def hear(self):
        try:
            for command, *args in commands(FRAMING, self.server, 1024):
                self.heard(command, args)
                while self.muted:
                    time.sleep(0.1)
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}")
        say(lost=True)

    def heard(self, command, args):
        if command == "WELCOME":
            say(welcome=args[0])
        elif command == "USERLIST":
            self.users = {}
            for entry in args:
                nick, ip, port = entry.split(":")
                self.users[nick] = (ip, int(port))
            self.tell_users()
        elif command == "USER_JOINED":
            nick, ip, port = args
            self.users[nick] = (ip, int(port))
            self.tell_users()
        elif command == "USER_LEFT":
            self.users.pop(args[0], None)
            self.tell_users()
        elif command == ("BROADCAST_MSG" if FRAMING == "lines" else "BROADCAST"):
            say(text=[args[0], " ".join(args[1:])])
        elif command == "ERROR":
            say(refused=" ".join(args))
        else:
            say(error=f"unknown: {command} {args}")

    # private chats
    def listen(self):
        while True:
            data, source = self.udp.recvfrom(1024)
            try:
                command, *args = unpack(FRAMING, data)
                if command == "CHAT_REQUEST":
                    self.asked(source, int(args[0]))
                elif command == "CHAT_REJECTED":
                    say(rejected=source[0])
            except Exception as error:
                say(error=f"{type(error).__name__}: {error}: {data}")

    def asked(self, source, port):
        say(asked=source[0])
        if not self.answer:
            # in lines to the number of the TCP port, where its own program does not listen
            to = (source[0], port) if FRAMING == "lines" else source
            self.udp.sendto(packet(FRAMING, "CHAT_REJECTED", ""), to)
            return
        s = socket.create_connection((source[0], port), 5)
        s.sendall(NICK.encode())
        self.begin(s)

    def ask(self, nick):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(("", 0))
        listener.listen(1)
        listener.settimeout(10)
        request = packet(FRAMING, "CHAT_REQUEST", str(listener.getsockname()[1]))
        if FRAMING == "lines":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(request, self.users[nick])
        else:
            self.udp.sendto(request, self.users[nick])

        def wait():
            try:
                s, _ = listener.accept()
            except TimeoutError:
                say(over=nick)
                return
            self.begin(s, True)
        threading.Thread(target=wait, daemon=True).start()

    def begin(self, s, asked=False):
        s.settimeout(None)
        nick = s.recv(1024).decode()
        if asked:
            s.sendall(NICK.encode())
        self.chats[nick] = s
        say(chat=nick)
        threading.Thread(target=self.chat, args=(s, nick), daemon=True).start()

    def chat(self, s, nick):
        try:
            while data := s.recv(1024):
                text = data.decode()
                for line in text.strip("\n").split("\n") if FRAMING == "lines" else [text]:
                    if line.endswith("[DISCONNECT]"):
                        if line != "[DISCONNECT]":
                            say(pm=[nick, line[:-len("[DISCONNECT]")]])
                        s.close()
                        say(over=nick)
                        return
                    say(pm=[nick, line])
            say(over=nick)
        except OSError:
            pass  # closed by ourselves
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}")

    def run(self):
        say(ready=True)
        for line in sys.stdin:
            verb, *rest = line.rstrip("\n").split(" ", 1)
            try:
                self.told(verb, rest[0] if rest else "")
            except Exception as error:
                say(error=f"{type(error).__name__}: {error}")

    def told(self, verb, rest):
        if verb == "all":
            self.server.sendall(build(FRAMING, "BROADCAST", NICK, rest))
        elif verb == "ask":
            self.ask(rest)
        elif verb in ("yes", "no"):
            self.answer = verb == "yes"
            say(answers=verb)
        elif verb == "pm":
            nick, text = rest.split(" ", 1)
            text += "\n" if FRAMING == "lines" else ""
            self.chats[nick].sendall(text.encode())
        elif verb == "close":
            s = self.chats.pop(rest)
            s.sendall(END.encode())
            s.close()
        elif verb == "quit":
            self.server.sendall(build(FRAMING, "QUIT"))
            self.server.close()
        elif verb == "mute":
            self.muted = True


Client().run()
