"""As khan2999 or Daniyal (the extra argument): TCP, `MSG sender text`."""
import sys

from common import Peer, exactly, line_of, say, until_end

KHAN = sys.argv[5] == "khan"


class TcpMsg(Peer):
    newline = "\n" if KHAN else ""
    join_from = "discovery" if KHAN else "other"
    word = "KNOWNUSERS" if KHAN else "KNOWUSERS"
    between = ","
    list_newline = "\n" if KHAN else ""

    def text_to(self, handle, text):
        end = "\n" if KHAN else ""
        self.over_tcp(self.to(handle), f"MSG {self.handle} {text}{end}".encode())

    def image_to(self, handle, data):
        head = f"IMG {self.handle} {len(data)}\n".encode()
        if KHAN:
            self.chat.sendto(head + data, self.to(handle))
        else:
            self.over_tcp(self.to(handle), head, data)

    def on_discovery(self, data, source, sock):
        word = data.split(None, 1)[:1]
        if not KHAN and word not in ([b"JOIN"], [b"WHO"], [b"LEAVE"], [b"KNOWUSERS"]):
            sock.sendto(b"ERROR: Unbekannter Befehl", source)
            return
        super().on_discovery(data, source, sock)
        if not KHAN and word == [b"JOIN"]:
            sock.sendto(b"JOIN_ACK " + data.split()[1], source)

    def on_chat(self, data, source):
        if KHAN and data.startswith(b"IMG "):
            head, body = data.split(b"\n", 1)
            _, sender, size = head.decode().split()
            assert len(body) == int(size), (len(body), size)
            self.image(sender, body)

    def on_stream(self, s, source):
        line = line_of(s)
        words = line.decode().rstrip("\n").split(" ", 2)
        if words[0] == "MSG":
            assert KHAN == line.endswith(b"\n"), line
            say(text=[words[1], words[2]])
        elif words[0] == "IMG" and not KHAN:
            self.image(words[1], exactly(s, int(words[2])))
        until_end(s)


TcpMsg().run()
