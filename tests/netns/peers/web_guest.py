"""A guest of the page, over the HTTP API as docs/web.md has it: a session, the stream of events, calls.

usage: web_guest.py HANDLE HOST PORT
stdin: msg HANDLE TEXT (#lobby for everyone)
stdout: {"ready": handle}, {"text": [from, conversation, text]}, {"sent": state}, {"error": text}
"""
import http.client
import json
import sys
import threading

HANDLE, HOST, PORT = sys.argv[1:4]
COOKIE = {}


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def request(method, path, body=None):
    c = http.client.HTTPConnection(HOST, int(PORT))
    headers = dict(COOKIE)
    if body is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(body)
    c.request(method, "/api/v1/" + path, body, headers)
    answer = c.getresponse()
    if answer.status != 200:
        raise ValueError(f"{method} {path}: {answer.status} {answer.read()}")
    return answer


def hear(stream):
    try:
        for line in stream:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            event = json.loads(value) if name == "data" else {}
            if event.get("kind") == "ready":
                say(ready=HANDLE)
            elif event.get("kind") == "message" and event["direction"] == "in":
                say(text=[event["from"], event["conversation"], event["text"]])
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")


session = request("POST", "session", {"handle": HANDLE})
session.read()
COOKIE["Cookie"] = session.getheader("set-cookie").split(";")[0]
threading.Thread(target=hear, args=(request("GET", "events"),), daemon=True).start()
for line in sys.stdin:
    verb, to, text = line.rstrip("\n").split(" ", 2)
    try:
        receipts = json.load(request("POST", "Send", {"to": [to], "text": text}))["receipts"]
        say(sent=[r["state"] for r in receipts])
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")
