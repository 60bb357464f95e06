#!/usr/bin/env python3
"""Boots a Pi's card in QEMU's machine, as far as it goes: tests/image/pi.py rpi-arm64|rpi-armhf

See board/run for what takes the place of Pi's own firmware, which QEMU does not run. Said is when
each step was reached; it fails if the chat's console does not answer in the end.
"""

import os
import subprocess
import sys
import time

from box import TOP, Failed, Line, expect, host, image

BOOT_S = int(os.environ.get("KLATSCH_BOOT_S", 1500))
LOADER = (("U-Boot", r"Core: +\d+ devices"), ("its script chose a slot", r"klatsch: slot A, then 2 more"),
          ("the kernel starts", r"Starting kernel"))
SYSTEM = (("the initrd found the card and grows the data partition", r"data partition grows to the card"),
          ("the chat's console answers", r"\S+> $"))


def main():
    name = sys.argv[1]
    card = os.path.join(os.path.dirname(image(name)), "pi.img")
    host("cp", "--sparse=always", image(name), card)
    os.truncate(card, 1 << 30)  # QEMU wants a power of two of an SD card
    env = dict(os.environ, KLATSCH_CARD=card, KLATSCH_SERIAL="stdio", KLATSCH_CACHE="unsafe")
    began = time.monotonic()
    box = subprocess.Popen([os.path.join(TOP, "board/run"), name], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, start_new_session=True)
    line = Line(box.stdout.fileno(), box.stdin.fileno())
    print(f"= the card of {name} in QEMU")
    try:
        for what, pattern in (LOADER if name == "rpi-arm64" else ()) + SYSTEM:
            line.wait(pattern, BOOT_S - (time.monotonic() - began), press="\r" if ">" in pattern else None)
            expect(True, f"{what}, {time.monotonic() - began:.0f} s after power")
        print("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; the card of " + name + " boots")
    except Failed as error:
        print(f"FAILED: {error}\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out")
        sys.exit(1)
    finally:
        box.kill()
        box.wait()
        os.remove(card)


main()
