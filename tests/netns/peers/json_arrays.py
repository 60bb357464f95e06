"""As 002's main branch (lucaatm): JSON arrays alone, by UDP; images in base64 to TCP port + 100."""
import base64
import json

from common import Peer, say, until_end


class JsonArrays(Peer):
    def begin(self):
        self.listen_tcp(self.tcp(self.port + 100), self.on_image)

    def join(self):
        self.shout(json.dumps(["JOIN", self.handle, self.ip, self.port]))

    def who(self):
        self.shout(json.dumps(["WHO", self.handle]))

    def leave(self):
        pass  # it never leaves the host

    def text_to(self, handle, text):
        said = json.dumps(["MSG", self.handle, handle, text])
        self.chat.sendto(said.encode(), self.to(handle))

    def image_to(self, handle, data):
        said = json.dumps([self.handle, "dot.png", base64.b64encode(data).decode()])
        self.over_tcp(self.to(handle, 100), said.encode())

    def on_discovery(self, data, source, sock):
        self.on_json(data, source)

    def on_chat(self, data, source):
        self.on_json(data, source)

    def on_json(self, data, source):
        try:
            said = json.loads(data.decode())
        except ValueError:
            return  # it prints an error and goes on
        if not isinstance(said, list):
            return
        if said[0] == "JOIN":
            self.learn(said[1], said[2], said[3])
        elif said[0] == "WHO" and said[1] != self.handle:
            entry = f"{self.handle} {self.ip} {self.port}"
            self.chat.sendto(json.dumps(["KNOWNUSERS", entry]).encode(), source)
        elif said[0] == "KNOWNUSERS":
            for entry in said[1:]:
                self.learn(*entry.split())
        elif said[0] == "MSG":
            assert said[2] == self.handle, said
            say(text=[said[1], said[3]])

    def on_image(self, s, source):
        sender, name, data = json.loads(until_end(s).decode())
        assert name.endswith(".png"), name
        self.image(sender, base64.b64decode(data))


JsonArrays().run()
