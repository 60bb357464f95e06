#!/usr/bin/env python3
"""Boots a board's card in QEMU and uses it as its operator does, over the serial line.

tests/image/boot.py NAME: the card that board/build NAME made. U-Boot chooses the slot, the console
greets, a handle is set, the power is cut (QEMU killed), the box starts again and still bears it;
the slot has its tries back. Prints how long the box took until it chatted.
"""

import os
import re
import select
import signal
import subprocess
import sys
import time
import zlib

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Emulated, on a busy machine; a Pi takes a tenth of it.
BOOT_S = 420
ANSWER_S = 60


class Box:
    """A running QEMU and what its serial line said."""

    def __init__(self, name, card):
        env = dict(os.environ, KLATSCH_CARD=card)
        self.began = time.monotonic()
        self.text = ""
        self.process = subprocess.Popen(
            [os.path.join(TOP, "board/run"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )

    def read(self, seconds):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if ready:
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                raise SystemExit("the box is gone; it said:\n" + self.text[-4000:])
            self.text += re.sub(r"\x1b\[[0-9;?!]*[A-Za-z]", "", piece.decode("utf-8", "replace"))

    def wait(self, pattern, seconds, press=None):
        """Waits for a pattern in what comes from now on; presses a key every five seconds."""
        begin, end, pressed = len(self.text), time.monotonic() + seconds, time.monotonic()
        while not re.search(pattern, self.text[begin:]):
            if time.monotonic() > end:
                raise SystemExit(f"waited {seconds} s for {pattern}; the line said:\n{self.text[-4000:]}")
            if press and time.monotonic() > pressed + 5:
                self.type(press)
                pressed = time.monotonic()
            self.read(1)
        return self.text[begin:]

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def ask(self, line, pattern):
        self.type(line + "\r")
        return self.wait(pattern, ANSWER_S)

    def chats(self):
        """Waits until the console answers; how long the box took."""
        self.wait(r"klatsch: slot [AB], then", BOOT_S)
        self.wait(r"Starting kernel", BOOT_S)
        self.wait(r"\S+> $", BOOT_S, press="\r")
        return time.monotonic() - self.began

    def cut(self):
        """Takes the power away."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def slots(card):
    """What U-Boot's script will go by: the first whole copy of its sector."""
    with open(card, "rb") as disk:
        for sector in (2048, 2049):
            disk.seek(sector * 512)
            data = disk.read(512)
            if zlib.crc32(data[4:]) == int.from_bytes(data[:4], "little"):
                pairs = data[4:].split(b"\0\0")[0].decode().split("\0")
                return dict(pair.split("=", 1) for pair in pairs)
    raise SystemExit("neither copy of the slots' sector is whole")


def main():
    name = sys.argv[1]
    card = os.path.join(TOP, "target/board", name, "test.img")
    if os.path.exists(card):
        os.remove(card)
    box = Box(name, card)
    try:
        first = box.chats()
        box.ask("STATUS", r"slcp +on")
        box.ask("HANDLE kitchen", r"kitchen> ")
        deadline = time.monotonic() + 180
        while slots(card).get("kl_a") != "3":
            if time.monotonic() > deadline:
                raise SystemExit(f"the slot was not marked good: {slots(card)}")
            box.read(2)
        box.cut()
        box = Box(name, card)
        again = box.chats()
        said = box.ask("STATUS", r"slcp +on")
        if "kitchen" not in said:
            raise SystemExit(f"the handle was lost with the power:\n{said}")
        print(f"{name}: from power to chat {first:.0f} s at first, {again:.0f} s after a power cut; slots {slots(card)}")
        print("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; the image boots")
    finally:
        if box.process.poll() is None:
            box.cut()


main()
