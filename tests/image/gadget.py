#!/usr/bin/env python3
"""A box whose USB port is plugged into a computer: tests/image/gadget.py NAME (tests/image/run calls it).

The port is the kernel's make-believe one (dummy_hcd): its other end is a USB hub of the same kernel,
so the computer at the cable's other end is the box's own root. What the box runs is what it runs on
a Pi, but for the port's driver (dwc2 there).
"""

import re
import sys

from box import Box, expect, new_card, shown

TALK = r"""
exec 7<>/dev/ttyACM0
stty -F /dev/ttyACM0 115200 raw -echo
cat <&7 >/run/said & reader=$!
n=0
until grep -q '> $' /run/said || [ $n -gt 60 ]; do printf '\r' >&7; sleep 1; n=$((n + 1)); done
printf 'STATUS\r' >&7
n=0
until grep -q '^speaks' /run/said || [ $n -gt 60 ]; do sleep 1; n=$((n + 1)); done
kill $reader
exec 7>&-
cat /run/said
"""


def cable(box):
    box.answers()
    print(f"from power to chat: {box.age():.0f} s", flush=True)
    expect(box.shell("systemctl is-active klatsch-gadget || true") == "active", "the port was made a gadget")
    said = box.shell("n=0; until [ -e /dev/ttyACM0 ] || [ $n -gt 30 ]; do sleep 1; n=$((n + 1)); done; "
                     "cat /sys/bus/usb/devices/*/product /sys/bus/usb/devices/*/serial; hostname", 120)
    name = said.split()[-1]
    expect("klatsch chat box" in said and said.count(name) >= 2, f"the computer sees a klatsch chat box, {name}")
    said = box.shell("(" + TALK + ")", 240)
    expect(re.search(r"\S+> ", said) and "speaks" in said, "its serial line there (ttyACM0) is the chat's console")
    said = box.shell("for n in /sys/class/net/*; do echo ${n##*/} $(basename $(readlink $n/device/driver)) $(cat $n/address $n/carrier); done 2>/dev/null; true")
    theirs = re.search(r"(\S+) cdc_ncm 06:(\S+) 1", said)
    ours = re.search(r"(usb\d) gadget\S* 02:(\S+) 1", said) or re.search(r"(?m)^(usb\d) .*02:(\S+) 1", said)
    expect(theirs and ours and theirs.group(2) == ours.group(2), f"and a network card: {ours and ours.group(0)}; {theirs and theirs.group(0)}")
    said = box.shell(f"n=0; until ip -4 addr show dev {ours.group(1)} | grep -q 'inet 169.254' || [ $n -gt 60 ]; "
                     f"do sleep 1; n=$((n + 1)); done; ip -4 addr show dev {ours.group(1)}; klatsch status", 240)
    address = re.search(r"inet (169\.254\.\S+)/", said)
    expect(address and said.count(address.group(1)) >= 2, f"on which the box chats, at {address and address.group(1)}")


def main(name):
    with shown(name, "gadget", "the USB port at a computer's") as (card, boxes):
        new_card(name, card, extra="modules_load=dummy_hcd")
        boxes.append(Box(name, card))
        cable(boxes[0])


if __name__ == "__main__":
    main(sys.argv[1])
