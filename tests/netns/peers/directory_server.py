"""The server of program 003. Whatever kills the real one ends this one too.

usage: directory_server.py IP
stdout: {"ready": true}, {"login": name}, {"logout": name}, and at its end {"error": text}
"""
import json
import socket
import sys

from common import say

users = {}
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 5000))
say(ready=True)
try:
    while True:
        data, source = s.recvfrom(1000)
        request = json.loads(data.decode())
        name = request["username"]
        if request["type"] == "login":
            users[name] = source
            s.sendto(json.dumps(users).encode(), source)
            say(login=name)
        elif request["type"] == "logout":
            del users[name]
            s.sendto(b"logout success", source)
            say(logout=name)
        else:
            raise ValueError(request)
except Exception as error:
    say(error=f"{type(error).__name__}: {error}")
