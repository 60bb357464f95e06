#!/usr/bin/env python3
"""What a real box makes of the klatsch.toml on its card: tests/image/settings.py [NAME]

Boots an image twice, with the card edited between as a laptop would: settings of every kind and a
wrong one, then a factory reset. Looks at the serial line, at the running system and at the card.
"""

import os
import sys

from box import Box, Failed, expect, image, new_card, read_fat, write_fat

CARD = """handle = "kitchen"
bell = "perhaps"
[network]
mode = "fixed"
address = "10.84.0.5/24"
gateway = "10.84.0.1"
[serial]
pin = "471100"
[web]
operator-pin = "815-operator"
[time]
server = "none"
[ssh]
key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqGDVyLzrZQ2bFH7uLFVTO4NVDcWzpvQpXfqhyn0YmX somebody"
""".replace("\n", "\r\n")


def first(box):
    box.line.wait(r"what became of klatsch\.toml", 420)
    said = box.line.wait(r"put it right, then start the box again", 60)
    for line in ("line 1: handle: applied (kitchen)", "line 2: bell: REFUSED: found perhaps",
                 "line 8: serial.pin: applied, kept on the box and taken out of the file"):
        expect(line in said, f"the serial line says: {line}")
    expect("471100" not in said and "815-operator" not in said, "and no secret")
    print(f"from power to chat: {box.chats_after():.0f} s", flush=True)
    addresses = box.shell("ip -4 addr")
    expect("10.84.0.5/24" in addresses, "networkd has the fixed address")
    status = box.shell("klatsch status --json")
    expect('"kitchen"' in status, "the box is called kitchen")
    tried = box.shell("klatsch config web.operator-pin --json")
    expect('"value":""' not in tried.replace(" ", "") and "815" not in tried, "the operator's PIN holds, and is not shown")
    expect("815-operator" in box.shell("cat /run/klatsch-box/klatsch.toml"), "root finds it in klatsch's layer")
    modes = box.shell("stat -c '%a %U %G' /run/klatsch-box/klatsch.toml /data/box/provision.toml")
    expect(modes.split("\n") == ["640 root klatsch", "600 root root"], "only klatsch and root may read them")
    expect("FallbackNTP=" in box.shell("cat /run/systemd/timesyncd.conf.d/60-klatsch.conf"), "no time server is asked")
    box.shell("(for n in $(seq 60); do netstat -ltn | grep -q ':22 ' && exit 0; sleep 1; done; exit 1)", 120)
    print("  ok: SSH listens since there is a key", flush=True)
    expect(box.shell("mount | grep -c klatsch-boot || true") == "0", "the FAT partition is not mounted any more")
    box.shell("sync")


def second(box):
    box.line.wait(r"factory-reset: everything is forgotten", 420)
    box.line.wait(r"then start the box again", 60)
    print(f"from power to chat: {box.chats_after():.0f} s", flush=True)
    expect("10.84.0.5" in box.shell("ip -4 addr"), "what stands on the card holds still")
    layer = box.shell("cat /run/klatsch-box/klatsch.toml")
    expect("pin" not in layer and "kitchen" in layer, "the PINs are forgotten")
    box.shell("sync")


def chats_after(self):
    """The console answers; the report came before."""
    self.answers()
    return self.age()


def main(name):
    Box.chats_after = chats_after
    card = os.path.join(os.path.dirname(image(name)), "settings.img")
    new_card(name, card)
    write_fat(card, "klatsch.toml", CARD)
    box = None
    try:
        box = Box(name, card)
        first(box)
        box.cut()
        left = read_fat(card, "klatsch.toml")
        expect("471100" not in left and "815-operator" not in left, "the secrets are gone from the card")
        kept = CARD.replace('"471100"', '"(kept on the box)"').replace('"815-operator"', '"(kept on the box)"')
        expect(left.replace("\r", "") == kept.replace("\r", ""), "all else on it is as it was")
        report = read_fat(card, "klatsch-report.txt")
        expect("line 2: bell: REFUSED: found perhaps, expected on or off" in report, "the report lies beside it")
        write_fat(card, "factory-reset", "everything\r\n")
        box = Box(name, card)
        second(box)
        box.cut()
        try:
            read_fat(card, "factory-reset")
            raise AssertionError("factory-reset is still there")
        except Failed:
            print("  ok: factory-reset is removed", flush=True)
    finally:
        if box:
            box.free()
        if os.path.exists(card):
            os.remove(card)
    print("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; a card's settings and a factory reset")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "qemu-arm64")
    except Failed as error:
        print(f"FAILED: {error}\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out")
        sys.exit(1)
