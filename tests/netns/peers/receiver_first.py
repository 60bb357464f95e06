"""As RobinSp5: TCP, `MSG receiver text`, who speaks is known by the address alone; lists go over
TCP to the asker's chat port."""
from common import Peer, exactly, line_of, say


class ReceiverFirst(Peer):
    join_from = "other"

    def who_is(self, ip):
        return next(h for h, (at, _) in self.users.items() if at == ip)

    def answer(self, source):
        # whoever asks from a host is taken for the user there
        for ip, port in list(self.users.values()):
            if ip == source[0]:
                self.over_tcp((ip, port), self.known_users())

    def text_to(self, handle, text):
        self.over_tcp(self.to(handle), f"MSG {handle} {text}\n".encode())

    def image_to(self, handle, data):
        self.over_tcp(self.to(handle), f"IMG {handle} {len(data)}\n".encode(), data)

    def on_chat(self, data, source):
        pass

    def on_stream(self, s, source):
        line = line_of(s).decode()
        assert line.endswith("\n"), line
        words = line[:-1].split(" ", 2)
        if words[0] == "KNOWUSERS":
            self.on_list(line)
        elif words[0] == "MSG":
            assert words[1] == self.handle, line
            say(text=[self.who_is(source[0]), words[2]])
        elif words[0] == "IMG":
            assert words[1] == self.handle, line
            self.image(self.who_is(source[0]), exactly(s, int(words[2])))


ReceiverFirst().run()
