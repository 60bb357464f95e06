"""As pollo60: TCP, raw `sender: text`; images wait for READY."""
from common import Peer, exactly, say, socket


class RawTcp(Peer):
    newline = ""
    join_from = "discovery"
    word = "KNOWNUSERS"
    list_newline = ""

    def text_to(self, handle, text):
        self.over_tcp(self.to(handle), f"{self.handle}: {text}".encode())

    def image_to(self, handle, data):
        with socket.create_connection(self.to(handle), 5) as s:
            s.sendall(f"IMG dot.png {len(data)}\n".encode())
            answer = s.recv(16)
            assert answer == b"READY", answer
            s.sendall(data)

    def on_chat(self, data, source):
        pass

    def on_stream(self, s, source):
        first = s.recv(4096)
        if first.startswith(b"IMG "):
            assert first.endswith(b"\n"), first  # the image must wait
            _, name, size = first.decode().split()
            assert name.endswith(".png"), name
            s.sendall(b"READY")
            self.image("?", exactly(s, int(size)))
        elif first:
            sender, text = first.decode().split(": ", 1)
            say(text=[sender, text])


RawTcp().run()
