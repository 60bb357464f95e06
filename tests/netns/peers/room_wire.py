"""The two framings of program 000, as its programs have them: `lines` (branch prototype) and
`lengths` (branch main). Written from PROTOCOLS; shares nothing with klatsch."""
import struct

from common import exactly


def build(framing, command, *args):
    body = f"{command} {' '.join(args)}".encode()
    return body + b"\n" if framing == "lines" else struct.pack(">I", len(body)) + body


def commands(framing, s, size):
    """The commands of a connection, each split at blanks, until it ends. In lines each read is
    decoded for itself and split into lines, as the real programs do it: a character or a line
    that two reads share is an error."""
    if framing == "lines":
        while data := s.recv(size):
            for line in data.decode().strip().split("\n"):
                yield line.strip().split()
    else:
        while True:
            try:
                length = struct.unpack(">I", exactly(s, 4))[0]
            except EOFError:
                return
            yield exactly(s, length).decode().split()


def packet(framing, command, *args):
    body = f"{command} {' '.join(args)}".encode()
    if framing == "lines":
        return body.strip()
    return struct.pack(">I", len(body)) + body


def unpack(framing, data):
    if framing == "lengths":
        length = struct.unpack(">I", data[:4])[0]
        assert length == len(data) - 4, data
        data = data[4:]
    return data.decode().split()
