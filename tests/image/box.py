"""A box in QEMU, as its operator, its power supply and its USB port have it.

The card is what board/build made, copied. The serial line is typed at and read byte by byte; a
root shell (the kernel option systemd.debug_shell, put on the card's FAT partition, on a line of
its own) is there to measure and to do harm, never to chat.
"""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Emulated, on a busy machine; a Pi takes a fraction of it.
BOOT_S = int(os.environ.get("KLATSCH_BOOT_S", 420))
ANSWER_S = 90
CARD_MB = 768
FAT_OFFSET = 4 << 20


class Failed(Exception):
    """What was expected did not happen."""


def expect(condition, text):
    if not condition:
        raise Failed(text)
    print(f"  ok: {text}", flush=True)


def image(name, suffix="img"):
    return os.path.join(TOP, "target/board", name, f"klatsch-{name}.{suffix}")


def host(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **more)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def write_fat(card, name, text):
    """Puts a file on the card's FAT partition, as a laptop does."""
    subprocess.run(["mcopy", "-o", "-i", f"{card}@@{FAT_OFFSET}", "-", f"::{name}"],
                   input=text.encode(), check=True, timeout=60)


def read_fat(card, name):
    return host("mtype", "-i", f"{card}@@{FAT_OFFSET}", f"::{name}")


def new_card(name, path, extra=""):
    """A card fresh from the image, with a root shell on the test's own line."""
    if os.path.exists(path):
        os.remove(path)
    host("cp", "--sparse=always", image(name), path)
    os.truncate(path, CARD_MB << 20)
    write_fat(path, "extra.txt", f"extra=systemd.debug_shell=hvc0 {extra}\n")
    return path


def slots(card):
    """What U-Boot's script will go by: the first whole copy of its sector."""
    with open(card, "rb") as disk:
        for sector in (2048, 2049):
            disk.seek(sector * 512)
            data = disk.read(512)
            if zlib.crc32(data[4:]) == int.from_bytes(data[:4], "little"):
                pairs = data[4:].split(b"\0\0")[0].decode().split("\0")
                return dict(pair.split("=", 1) for pair in pairs)
    raise Failed("neither copy of the slots' sector is whole")


class Line:
    """One end of a serial line: what came so far, and the mark up to which it was looked at."""

    def __init__(self, read, write):
        self.from_, self.to = read, write
        self.text, self.mark = "", 0

    def read(self, seconds):
        if not select.select([self.from_], [], [], seconds)[0]:
            return False
        piece = os.read(self.from_, 65536)
        if not piece:
            raise Failed("the box is gone; it said:\n" + self.text[-4000:])
        self.text += re.sub(r"\x1b(\[[0-9;?!]*[A-Za-z]|\][^\x07\x1b]*(\x07|\x1b\\))", "", piece.decode("utf-8", "replace"))
        return True

    def wait(self, pattern, seconds=ANSWER_S, press=None):
        """Waits for a pattern behind the mark and moves the mark; presses a key now and then."""
        end, pressed = time.monotonic() + seconds, time.monotonic()
        while True:
            found = re.search(pattern, self.text[self.mark:])
            if found:
                said = self.text[self.mark:self.mark + found.end()]
                self.mark += found.end()
                return said
            if time.monotonic() > end:
                raise Failed(f"waited {seconds} s for {pattern!r}; the line said:\n{self.text[-3000:]}")
            if press and time.monotonic() > pressed + 3:
                self.type(press)
                pressed = time.monotonic()
            self.read(0.5)

    def type(self, text):
        """Byte by byte, as fingers do."""
        for byte in text.encode():
            os.write(self.to, bytes([byte]))

    def ask(self, line, pattern, seconds=ANSWER_S):
        while self.read(0):
            pass
        self.mark = len(self.text)
        self.type(line + "\r")
        return self.wait(pattern, seconds)


class Box:
    """A running QEMU. `net` is its -netdev, with the id lan; `more` are further options of QEMU's."""

    def __init__(self, name, card, net=None, mac="52:54:00:6b:6c:01", scratch="/tmp", more=()):
        self.name, self.card = name, card
        self.sockets = os.path.join(scratch, f"{os.path.basename(card)}-{os.getpid()}")
        for end in (".shell", ".qmp"):
            if os.path.exists(self.sockets + end):
                os.remove(self.sockets + end)
        env = dict(os.environ, KLATSCH_CARD=card, KLATSCH_MAC=mac, KLATSCH_CACHE="none",
                   KLATSCH_SERIAL="stdio")
        if net:
            env["KLATSCH_NET"] = net
        command = [os.path.join(TOP, "board/run"), name,
                   "-qmp", f"unix:{self.sockets}.qmp,server=on,wait=off",
                   "-chardev", f"socket,id=shell,path={self.sockets}.shell,server=on,wait=off",
                   "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=shell",
                   "-device", "qemu-xhci,id=usb", *more]
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=env, start_new_session=True)
        self.line = Line(self.process.stdout.fileno(), self.process.stdin.fileno())
        self.root = None

    def age(self):
        return time.monotonic() - self.began

    def chats(self, slot="[AB]"):
        """Waits until the console answers; how long the box took from power to chat."""
        self.line.wait(rf"klatsch: slot {slot}, then", BOOT_S)
        self.line.wait(r"Starting kernel", BOOT_S)
        self.answers()
        return self.age()

    def answers(self, seconds=BOOT_S):
        """Waits for the console of a system that is starting. The watchdog's 15 s, the Pi's longest, may
        be too short where others have the processor: said, and borne once."""
        said = self.line.wait(r"U-Boot 20\d\d|[^\s=]> $", seconds, press="\r")
        if said.endswith("> "):
            return
        print(f"  the watchdog restarted it as it started, {self.age():.0f} s after power; load {os.getloadavg()[0]:.0f}",
              flush=True)
        # the key that was to wake the console may have stopped U-Boot
        if self.line.wait(r"\n=> $|klatsch: slot [AB], then", seconds).endswith("=> "):
            self.line.type("boot\r")
            self.line.wait(r"klatsch: slot [AB], then", seconds)
        self.line.wait(r"Starting kernel", seconds)
        if not self.line.wait(r"U-Boot 20\d\d|[^\s=]> $", seconds, press="\r").endswith("> "):
            raise Failed("it restarted by itself twice")

    def shell(self, command, seconds=ANSWER_S):
        """Has root do something; what it said. Raises Failed if it did not succeed."""
        if self.root is None:
            end = socket.socket(socket.AF_UNIX)
            end.connect(self.sockets + ".shell")
            self.socket = end
            self.root = Line(end.fileno(), end.fileno())
            self.root.type("\n")
            self.root.wait(r"[#$] $", BOOT_S, press="\n")
            self.root.ask("stty -echo; export SYSTEMD_PAGER=cat; PS1= PS2=", r"PS2=[^\n]*\n")
        # two halves, so that an echoed line is not taken for its answer
        said = self.root.ask(f"echo '<be''gin>'; {{ {command}\n}} 2>&1; echo '<en''d' $?'>'".replace("\r", ""),
                             r"<end \d+>", seconds)
        text, code = re.fullmatch(r"(?s).*<begin>\r?\n(.*)<end (\d+)>", said).groups()
        text = text.replace("\r", "")
        if code != "0":
            raise Failed(f"{command}: {text}")
        return text.strip()

    def restarts(self):
        """The shell ends with the system; the next one is another."""
        if self.root is not None:
            self.socket.close()
            self.root = None

    def good(self, slot, seconds=240, trial="none"):
        """Waits until the slot has its tries back; `trial`: one that was given up and is still noted."""
        end = time.monotonic() + seconds
        while slots(self.card).get("kl_" + slot.lower()) != "3" or slots(self.card)["kl_trial"] != trial:
            if time.monotonic() > end:
                raise Failed(f"slot {slot} was not marked good: {slots(self.card)}")
            self.line.read(1)

    def qmp(self, execute, **arguments):
        """One command to QEMU itself."""
        with socket.socket(socket.AF_UNIX) as end:
            end.settimeout(30)
            end.connect(self.sockets + ".qmp")
            stream = end.makefile("rw")
            stream.readline()
            for ask in ({"execute": "qmp_capabilities"}, {"execute": execute, "arguments": arguments}):
                stream.write(json.dumps(ask) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
                while "event" in answer:
                    answer = json.loads(stream.readline())
                if "error" in answer:
                    raise Failed(f"QEMU, {execute}: {answer['error']}")
            return answer["return"]

    def stick(self, path, number=1):
        """Plugs a USB stick in."""
        self.qmp("blockdev-add", driver="raw", **{"node-name": f"stick{number}", "read-only": False,
                 "file": {"driver": "file", "filename": path}})
        self.qmp("device_add", driver="usb-storage", id=f"plug{number}", bus="usb.0", drive=f"stick{number}")

    def unplug(self, number=1):
        self.qmp("device_del", id=f"plug{number}")

    def cut(self):
        """Takes the power away."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.restarts()

    def free(self):
        """Ends it, whatever state it is in, and its sockets."""
        self.cut()
        for end in (".shell", ".qmp"):
            if os.path.exists(self.sockets + end):
                os.remove(self.sockets + end)


@contextlib.contextmanager
def shown(name, part, what):
    """Runs one part on a card: its result in a line, and afterwards no box runs, its lines are in
    a log and the card is gone. Whoever starts a box puts it into the list that this gives, with
    the card's path."""
    folder = os.path.dirname(image(name))
    card, boxes = os.path.join(folder, f"{part}.img"), []
    try:
        yield card, boxes
        print(f"test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; {what}")
    except Failed as error:
        print(f"FAILED: {error}\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out")
        sys.exit(1)
    finally:
        with open(os.path.join(folder, f"{part}.log"), "w", encoding="utf-8") as log:
            for box in boxes:
                root = box.root
                box.free()
                log.write(box.line.text + ("\n= root\n" + root.text if root else ""))
        if os.path.exists(card) and not os.environ.get("KLATSCH_KEEP"):
            os.remove(card)


def remove(path):
    shutil.rmtree(path, ignore_errors=True)
