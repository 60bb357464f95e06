"""As 001 (Fabianuniii): UDP, `MSG sender text`; images by TCP to a port of the configuration.

The extra arguments are its own image port and the other's.
"""
from common import Peer, exactly, say, until_end


class SenderFirst(Peer):
    newline = ""

    def begin(self):
        own, other = map(int, self.more)
        self.image_port = other
        self.listen_tcp(self.tcp(own), self.on_image)

    def who(self):
        self.shout("WHO\n")

    def text_to(self, handle, text):
        self.chat.sendto(f"MSG {self.handle} {text}".encode(), self.to(handle))

    def image_to(self, handle, data):
        head = f"IMG {self.handle} dot.png {len(data)} ".encode()
        self.over_tcp((self.to(handle)[0], self.image_port), head + data)

    def on_chat(self, data, source):
        words = data.decode().split(" ", 2)
        if words[0] == "MSG" and len(words) == 3:
            say(text=[words[1], words[2]])
        else:
            super().on_chat(data, source)

    def on_image(self, s, source):
        head = b""
        while head.count(b" ") < 4:
            head += exactly(s, 1)
        word, sender, name, size = head.decode().split()
        assert word == "IMG" and name.endswith(".png"), head
        data = until_end(s)
        assert len(data) == int(size), (len(data), size)
        self.image(sender, data)


SenderFirst().run()
