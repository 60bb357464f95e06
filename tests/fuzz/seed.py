"""Sows the fuzzing corpus from what real programs said (tests/data): seed.py CORPUS.

Each target gets what its reader would have met; those that take a choice before the bytes get
several."""

import hashlib
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
CORPUS = pathlib.Path(sys.argv[1])
BOX = "klatsch 10.0.0.1:8484\nklatsch=0123456789abcdef0123456789abcdef; a=b"


def put(target, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def records(folder):
    """Of each capture: its records."""
    for path in sorted((DATA / folder).glob("*.jsonl")):
        yield [json.loads(line) for line in path.read_text().splitlines() if line]


def streams(capture):
    """What each end of each connection said, in one piece."""
    ends = {}
    for record in capture:
        if record["proto"] == "tcp" and record.get("hex"):
            key = (record.get("stream"), record["src"], record["dst"])
            ends.setdefault(key, bytearray()).extend(bytes.fromhex(record["hex"]))
    return [bytes(data) for data in ends.values()]


def datagrams(capture):
    return [bytes.fromhex(r["hex"]) for r in capture if r["proto"] == "udp" and r.get("hex")]


def step(kind, a, b, data):
    """A step of the target `node`."""
    data = data[:510]
    data += b" " * (len(data) % 2)
    return bytes([kind, a, b, len(data) // 2]) + data


for dialect, reader in [("slcp", None), ("hello", "hello"), ("room", "room"), ("directory", None)]:
    for capture in records(dialect):
        for data in datagrams(capture):
            if dialect in ("slcp", "directory"):
                put("slcp_datagram" if dialect == "slcp" else "directory", data)
            else:
                put(dialect, b"\x10" + data)
        for data in streams(capture):
            if dialect == "slcp":
                put("slcp_stream", b"\x00" + data)
                put("slcp_stream", b"\xff" + data)
            elif reader:
                put(reader, b"\x05" + data)
        # the same, told to a whole node: at each of its sockets in turn
        for socket in range(8):
            told = b"".join(step(0, socket, n % 40, d) for n, d in enumerate(datagrams(capture)))
            told += b"".join(step(3, socket, n % 40, d) for n, d in enumerate(streams(capture)))
            put("node", told[:8_000])
for path in (DATA / "config").iterdir():
    put("config", path.read_bytes())
    put("kept_files", path.read_bytes())
put("config", (ROOT / "systemd" / "klatsch.toml").read_bytes())
for session in (DATA / "link").glob("session-v1*.txt"):
    for line in session.read_text().splitlines():
        who, _, digits = line.partition(" ")
        if who in ("0", "1"):
            put("link_session", bytes([int(who) | 0xF0]) + bytes.fromhex(digits))
            put("link_frame", bytes.fromhex(digits)[2:])

beacon = b"KLATSCH\x01" + bytes(16) + b"\x01" + bytes(4) + b"\x13\x91\x02\x04anna\x03bob"
put("link_beacon", beacon)
put("node", step(2, 0, 1, beacon) + step(6, 0, 60, b"") + step(2, 1, 2, beacon))

lines = ["JOIN anna", "LEAVE", "WHO", "MSG bob hallo", "MSG bob,carl hallo", "IMG bob /tmp/a.png",
         "ALL hallo", "AWAY bin essen", "BACK", "AUTOREPLY nein", "HANDLE otto", "CONFIG bell on",
         "HISTORY bob 20", "SEARCH kaffee \"und kuchen\"", "BLOCK bob", "UNBLOCK bob", "VERIFY bob",
         "STATUS", "DOCTOR", "HELP msg", "json on"]
for line in lines:
    put("command", line.encode())
    put("editor", b"\x50" + line.encode() + b"\r")
    put("session", b"\x50" + line.encode() + b"\r")
    put("node", step(7, 0, 0, line.encode()) + step(6, 0, 50, b""))
for line in ["who --json", "msg bob hallo", "room send book -- --x", "history -n 20 bob", "forget --key bob",
             "--instance=x help room", "export --messages-txt", "run --system", "--version"]:
    put("line", line.replace(" ", "\0").encode())
put("session", b"\x50" + "\n".join(lines).encode() + b"\n")
put("search", b'kaffee "und kuchen" -tee OR a*')
for request in ({"method": "Who"}, {"method": "Send", "parameters": {"to": ["bob"], "text": "x"}},
                {"method": "org.klatsch.Chat.Subscribe", "more": True},
                {"method": "org.varlink.service.GetInfo"}):
    text = json.dumps(request).encode()
    put("varlink", text + b"\0")
    put("console_json", text + b"\n")
for text in ("bytes=0-99", "bytes=-5", "bytes=7-", "handle=anna&pin=12+3%C3%A4", "[fe80::1]:80",
             "klatsch.local:8484", BOX, "../../x/photo \"1\".png"):
    put("http", b"\x20" + text.encode())
put("inline", b"begin-base64 644 cat.png\niVBORw0KGgo=\n====\n3915528286 8\n")
put("kept_files", b'away = "lunch"\nblocked = ["x"]\n[set]\nbell = "on"\n')
put("kept_files", json.dumps({"all": [{
    "token": "0" * 32, "id": "a", "handle": "anna", "address": "10.0.0.2", "seen": 1,
    "muted": False, "away": False, "autoreply": None, "keys": []}],
    "banned": ["10.0.0.9"]}).encode())
put("kept_files", json.dumps({"files": [{"id": "a", "owner": "b", "path": "/x", "size": 1,
                                         "format": "png", "name": "n"}]}).encode())
for magic in (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x07\0\0\0\x09\x08\x02\0\0\0",
              b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\xff\xc0\0\x11\x08\0\x09\0\x07",
              b"GIF89a\x03\0\x02\0", b"BM" + bytes(30), b"II*\0\x08\0\0\0\x01\0", b"MM\0*" + bytes(9),
              b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(10), b"\0\0\0\x18ftypheic" + bytes(16),
              b"\0\0\0\x1cftypavif" + bytes(20)):
    put("image", magic)
for n in range(6):
    put("history_rows", bytes([n, 4, 65, 65, 65, 65, 0, 0, 0, 0] * 12))
