#!/usr/bin/env python3
"""Boots a Pi's card in QEMU's machine, as far as it goes: tests/image/pi.py rpi-arm64|rpi-armhf

U-Boot takes the place of Pi's own firmware, which QEMU does not run. Said is how far it came, and
it fails if the kernel did not find the card, the slot and systemd.
"""

import os
import subprocess
import sys
import time

from box import TOP, Failed, Line, expect, host, image, write_fat

BOOT_S = int(os.environ.get("KLATSCH_BOOT_S", 1500))
STEPS = (("U-Boot", r"U-Boot 20"), ("its script chose a slot", r"klatsch: slot A, then 2 more"),
         ("the kernel starts", r"Starting kernel"), ("the initrd found the card and grew the data partition",
                                                     r"data partition grows to the card"),
         ("systemd runs", r"klatsch-report|Welcome to|> $"), ("the chat's console answers", r"\S+> $"))


def main():
    name = sys.argv[1]
    card = os.path.join(os.path.dirname(image(name)), "pi.img")
    host("cp", "--sparse=always", image(name), card)
    os.truncate(card, 1 << 30)  # QEMU wants a power of two of an SD card
    write_fat(card, "extra.txt", "extra=systemd.show_status=1\n")
    env = dict(os.environ, KLATSCH_CARD=card, KLATSCH_SERIAL="stdio", KLATSCH_CACHE="unsafe")
    began = time.monotonic()
    box = subprocess.Popen([os.path.join(TOP, "board/run"), name], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, start_new_session=True)
    line = Line(box.stdout.fileno(), box.stdin.fileno())
    print(f"= the card of {name} in QEMU")
    try:
        for what, pattern in STEPS:
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
