#!/usr/bin/env python3
"""Boots a Pi's card in QEMU's machine, as far as it goes: tests/image/pi.py rpi-arm64|rpi-armhf

See board/run for what takes the place of Pi's own firmware, which QEMU does not run. Said is when
each step was reached; it fails if the chat's console does not answer in the end. What the line said
stays beside the image, pi.log.
"""

import os
import re
import subprocess
import sys
import time

from box import TOP, Failed, Line, expect, host, image, write_fat

BOOT_S = int(os.environ.get("KLATSCH_BOOT_S", 1500))
# U-Boot's second line, which comes whole; a key that was to wake the console may have stopped it
AGAIN = r"Core: +\d+ devices"
LOADER = (("U-Boot", AGAIN), ("its script chose a slot", r"klatsch: slot A, then 2 more"),
          ("the kernel starts", r"Starting kernel"))
SYSTEM = (("the initrd found the card and grows the data partition", r"data partition grows to the card"),
          ("the chat's console answers", AGAIN + r"|[^\s=]> $"))


def main():
    name = sys.argv[1]
    card = os.path.join(os.path.dirname(image(name)), "pi.img")
    host("cp", "--sparse=always", image(name), card)
    os.truncate(card, 1 << 30)  # QEMU wants a power of two of an SD card
    write_fat(card, "extra.txt", "extra=systemd.watchdog_sec=off\n")  # see board/run
    env = dict(os.environ, KLATSCH_CARD=card, KLATSCH_SERIAL="stdio", KLATSCH_CACHE="unsafe")
    began = time.monotonic()
    box = subprocess.Popen([os.path.join(TOP, "board/run"), name], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, start_new_session=True)
    line = Line(box.stdout.fileno(), box.stdin.fileno())
    print(f"= the card of {name} in QEMU")
    try:
        for what, pattern in (LOADER if name == "rpi-arm64" else ()) + SYSTEM:
            said = line.wait(pattern, BOOT_S - (time.monotonic() - began), press="\r" if ">" in pattern else None)
            if ">" in pattern and re.search(AGAIN, said):
                raise Failed(f"it started again by itself {time.monotonic() - began:.0f} s after power")
            expect(True, f"{what}, {time.monotonic() - began:.0f} s after power")
        while True:  # what is typed while the line changes hands is lost
            try:
                said = line.ask("STATUS", r"(?s)klatsch +\d.*slcp on", 90)
                break
            except Failed:
                if time.monotonic() - began > BOOT_S:
                    raise
        expect(True, "STATUS: " + re.search(r"klatsch +\d[^\r\n]*", said).group(0)
               + f", {time.monotonic() - began:.0f} s after power")
        print("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; the card of " + name + " boots")
    except Failed as error:
        print(f"FAILED: {error}\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out")
        sys.exit(1)
    finally:
        box.kill()
        box.wait()
        with open(os.path.join(os.path.dirname(card), "pi.log"), "w", encoding="utf-8") as log:
            log.write(line.text)
        os.remove(card)


main()
