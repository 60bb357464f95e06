"""As Tuna-Safak: UDP, `MSG Sender "text"`; an image is one datagram after its header."""
import re

from common import Peer, say


class QuotedUdp(Peer):
    word = "KNOWNUSERS"
    list_newline = ""
    want = None

    def who(self):
        s = self.udp(0)
        s.settimeout(2)
        s.sendto(b"WHO", (self.broadcast, 4000))
        try:
            while True:
                self.on_list(s.recv(4096).decode())
        except OSError:
            s.close()

    def text_to(self, handle, text):
        said = f'MSG {self.handle.capitalize()} "{text}"\n'
        self.chat.sendto(said.encode(), self.to(handle))

    def image_to(self, handle, data):
        self.chat.sendto(f"IMG {handle} {len(data)}\n".encode(), self.to(handle))
        self.chat.sendto(data, self.to(handle))

    def on_chat(self, data, source):
        if self.want is not None:
            want, self.want = self.want, None
            assert len(data) == want, (len(data), want)
            return self.image("?", data)
        text = data.decode()
        if text.startswith("IMG "):
            _, receiver, size = text.split()
            assert receiver.lower() == self.handle.lower(), text
            self.want = int(size)
        elif text.startswith("MSG "):
            found = re.fullmatch(r'MSG (\S+) "(.*)"\n', text)
            assert found, text
            say(text=[found[1], found[2]])


QuotedUdp().run()
