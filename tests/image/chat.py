#!/usr/bin/env python3
"""Two boxes and a person on one LAN, driven over their serial lines; power cuts; an update.

tests/image/chat.py NAME (tests/image/run calls it, in a network namespace of its own).
KLATSCH_CUTS: power cuts in a chat, else 1. KLATSCH_UPDATE_CUTS: power cuts in an update, else 1.
KLATSCH_FALLBACK=1: also an update whose chat never answers, until the box falls back; and a system
that hangs, until the watchdog restarts it.
Whatever is random goes by KLATSCH_SEED, which is printed. What the lines said last stays beside the
image, alpha.log and beta.log.
"""

import base64
import hashlib
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

import bundles
import lan
from box import BOOT_S, Box, Failed, expect, image, new_card, remove, slots, write_fat

# A box that lost power comes back, and its neighbour links up with it again.
BACK_S = 240


def picture():
    """A PNG of noise, 24x24."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + random.randbytes(24) for _ in range(24))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 24, 24, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def as_text(data, name="noise.png"):
    """As docs/console.md has it sent over the line."""
    check = subprocess.run(["cksum"], input=data, capture_output=True, check=True).stdout.decode()
    return f"begin-base64 644 {name}\n{base64.encodebytes(data).decode()}====\n{check}"


def both(act, boxes):
    """The same for each box at once; how long each took."""
    took, failed = {}, []

    def one(box):
        try:
            took[box] = act(box)
        except Failed as error:
            failed.append(error)
    threads = [threading.Thread(target=one, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return took


def chat(alpha, beta, nora):
    print("= chat, byte by byte over the serial lines", flush=True)
    alpha.line.ask("HANDLE alpha", r"alpha> ")
    beta.line.ask("HANDLE beta", r"beta> ")
    place = nora.where("alpha")
    nora.join()
    said = alpha.line.ask("STATUS", r"slcp +on")
    expect("alpha" in said, "JOIN: alpha is in the chat, and the person on the LAN heard it")
    end = time.monotonic() + 180  # boxes that share a processor with others are slow to meet
    while True:
        nora.join()
        try:
            alpha.line.ask("WHO", r"(?s)beta [^\n]*link[^\n]*encrypted.*nora ", 10)
            break
        except Failed:
            if time.monotonic() > end:
                raise
    expect(True, "WHO: alpha sees beta, linked, and nora")
    alpha.line.ask("MSG beta guten Tag, ich bin alpha", r"beta: delivered|delivered")
    beta.line.wait(r"alpha: guten Tag, ich bin alpha")
    expect(True, "MSG: alpha to beta, confirmed by beta and shown there")
    beta.line.ask("MSG alpha dobrý den od beta", r"delivered")
    alpha.line.wait(r"beta: dobrý den od beta")
    expect(True, "MSG: beta to alpha, confirmed and shown")
    alpha.line.type("MSG nora hello nora\r")
    nora.wait("alpha's text", lambda p, w, d: d.startswith(b"MSG") and b"hello nora" in d)
    expect(True, "MSG: alpha to nora's SLCP program")
    nora.say('MSG alpha "ahoj alpha"', to=place)
    alpha.line.wait(r"nora: ahoj alpha")
    expect(True, "MSG: nora's SLCP program to alpha")
    data = picture()
    alpha.line.ask("IMG beta -", r"send it now")
    alpha.line.type(as_text(data).replace("\n", "\r"))
    alpha.line.wait(r"came whole")
    beta.line.wait(r"alpha: image [^\n]*png[^\n]*24x24")
    expect(True, f"IMG: {len(data)} bytes typed at alpha's line, shown by beta as an image of 24x24")
    alpha.line.ask("IMG nora -", r"send it now")
    alpha.line.type(as_text(data).replace("\n", "\r"))
    nora.wait("the image", lambda p, w, d: re.match(rb"IMG (alpha|nora) %d\n" % len(data), d) and d.endswith(b"\n" + data))
    expect(True, "IMG: alpha to nora's SLCP program")
    data = picture()
    nora.hand(b"IMG nora %d\n" % len(data) + data, place)
    alpha.line.wait(r"nora: image [^\n]*24x24")
    expect(True, "IMG: nora's SLCP program to alpha")


def memory(box):
    print("= memory", flush=True)
    said = box.shell("grep -E '^(Pss|Private_Dirty):' /proc/$(pidof klatsch)/smaps_rollup; "
                     "grep -E '^(MemTotal|MemAvailable|Shmem):' /proc/meminfo")
    of = {name: int(value) for name, value in re.findall(r"(\w+): +(\d+) kB", said)}
    print(f"  the daemon: PSS {of['Pss']} kB, private dirty {of['Private_Dirty']} kB")
    print(f"  the system: {of['MemTotal'] - of['MemAvailable']} of {of['MemTotal']} kB in use, "
          f"{of['Shmem']} kB of it files in memory", flush=True)
    expect(of["MemTotal"] - of["MemAvailable"] < 160 * 1024, "the whole system takes below 160 MB")


def identity(box):
    """What a box made for itself at its first start."""
    said = box.shell("echo id=$(cat /etc/machine-id); echo name=$(hostname); klatsch status --json")
    found = re.search(r'(?s)id=([0-9a-f]{32})\s.*name=(klatsch-[0-9a-f]{4})\s.*"fingerprint": *"([^"]+)"', said)
    if not found:
        raise Failed(f"no machine-id, host name and key: {said}")
    return found.groups()


def unlike(alpha, beta):
    one, other = identity(alpha), identity(beta)
    expect(all(mine and mine != its for mine, its in zip(one, other)),
           f"two boxes of one image: machine-id, host name ({one[1]}, {other[1]}) and key differ")
    return other


def elsewhere(card):
    """What a card holds but for its data partition and the two sectors about the slots."""
    with open(card, "rb") as disk:
        mbr = disk.read(512)
        data = int.from_bytes(mbr[446 + 48 + 8:446 + 48 + 12], "little") * 512
        hashed = hashlib.sha256(mbr[:446])
        for at, end in ((512, 1 << 20), ((1 << 20) + 1024, data)):
            disk.seek(at)
            while at < end:
                piece = disk.read(min(1 << 20, end - at))
                hashed.update(piece)
                at += len(piece)
    return hashed.hexdigest()


def history(box, name):
    """All that a box has kept with somebody."""
    box.line.ask(f"HISTORY {name} 200", r"\n")
    while box.line.read(3):  # until it has said all
        pass
    return box.line.text[box.line.mark:]


def cut_in_chat(alpha, beta, reborn, number):
    """Takes beta's power while alpha writes to it; what alpha was told is delivered must be there."""
    moment = random.uniform(0.5, 10)
    print(f"= power cut {number} in a chat, {moment:.1f} s after its first line", flush=True)
    sent, end = 0, time.monotonic() + moment
    alpha.line.mark = len(alpha.line.text)
    begin = alpha.line.mark
    while time.monotonic() < end:
        sent += 1
        alpha.line.type(f"MSG beta cut {number} line {sent} end\r")
        time.sleep(random.uniform(0.02, 0.3))
    beta.cut()
    # what had arrived at alpha by then was confirmed by a box that is no more
    while alpha.line.read(1):
        pass
    said = alpha.line.text[begin:]
    confirmed = len(re.findall(r"beta: delivered", said))
    print(f"  {sent} lines were written, {confirmed} confirmed before the cut", flush=True)
    beta = reborn()
    took = beta.chats()
    print(f"  from power to chat again: {took:.0f} s", flush=True)
    end = time.monotonic() + BACK_S
    while True:
        kept = history(beta, "alpha")
        # by their numbers in the history: what arrives at this moment stands among them too
        lines = [int(n) for n in re.findall(rf"#\d+ [^\n]*alpha: cut {number} line (\d+) end", kept)]
        if len(set(lines)) == sent:
            break
        if time.monotonic() > end:
            raise Failed(f"of {sent} lines beta has {sorted(set(lines))}:\n{kept[-2000:]}")
        time.sleep(2)
    expect(len(lines) == len(set(lines)), "all lines are there, once: the confirmed from before the "
           "cut, the others sent again")
    expect(lines == sorted(lines), "in the order in which they were written")
    expect("beta" in beta.line.ask("STATUS", r"slcp +on"), "the handle was kept")
    return beta


def update(box, reborn, good, stick, cuts):
    """A stick with a new version; the power is cut while it is installed; in the end it runs."""
    was = box.shell("/usr/lib/klatsch/slot get-current")
    other = "B" if was == "A" else "A"
    longest = 20.0
    for number in range(1, cuts + 1):
        # the one before may have been installed whole, and noted
        box.shell("rm -f /data/box/stick /run/klatsch/update.result; sync")
        box.stick(stick)
        box.shell("until grep -sq ^busy: /run/klatsch/update.result; do sleep 0.2; done", 180)
        begun, moment = time.monotonic(), random.uniform(0, longest)
        print(f"= power cut {number} in an update, {moment:.1f} s after it began", flush=True)
        ended = None
        while time.monotonic() < begun + moment and not ended:
            said = box.shell("cat /run/klatsch/update.result")
            ended = said if not said.startswith("busy") else None
        box.cut()
        if ended:
            longest = max(2.0, time.monotonic() - begun)
            print(f"  it had ended: {ended}")
        state = slots(box.card)
        print(f"  slots after the cut: {state}", flush=True)
        box = reborn()
        took = box.chats()
        now = box.shell("/usr/lib/klatsch/slot get-current")
        print(f"  it boots: from power to chat {took:.0f} s, slot {now}", flush=True)
        if now == other:
            box.good(other)
            was, other = other, was
        expect("alpha" in box.line.ask("STATUS", r"slcp +on"), "the handle was kept")
    print("= the update, uncut", flush=True)
    box.shell("rm -f /data/box/stick /run/klatsch/update.result")
    box.stick(stick)
    began = time.monotonic()
    box.shell("until grep -sq ^done: /run/klatsch/update.result; do ! grep -sE '^(refused|failed)' "
              "/run/klatsch/update.result || break; sleep 0.5; done; grep ^done: /run/klatsch/update.result", 600)
    print(f"  installed after {time.monotonic() - began:.0f} s", flush=True)
    box.restarts()
    took = box.chats(slot=other)
    box.good(other)
    version = box.shell("sed -n s/^IMAGE_VERSION=//p /etc/os-release; rauc status --detailed --output-format=shell "
                        "| grep -i bundle_version || true")
    expect(good in version, f"slot {other} runs, was marked good; it is {good}")
    expect("alpha" in box.line.ask("STATUS", r"slcp +on"), "the handle was kept")
    said = box.shell("until journalctl -b --no-pager -o cat -u 'klatsch-stick@*' | grep 'was installed'; "
                     "do sleep 1; done", 120)
    expect("was installed from a stick before" in said, "the stick stays in, and is left alone")
    return box


def refusals(box, kinds):
    print("= bundles that are refused", flush=True)
    said = box.shell("until journalctl -b --no-pager -o cat -u 'klatsch-stick@*' 2>/dev/null | grep 'on the stick'; "
                     "do sleep 1; done", 120)
    expect("no klatsch-" in said, "a stick without an update for this board is left alone")
    where = box.shell("ls /sys/block | grep '^sd' | tail -n 1")
    box.shell(f"mkdir -p /run/bad && mount -o ro /dev/{where} /run/bad")
    before = slots(box.card)
    for kind, pattern in kinds.items():
        said = box.shell(f"/usr/lib/klatsch/update --stay /run/bad/{kind}.raucb; echo ended with $?")
        line = [line for line in said.splitlines() if line.startswith(("refused", "failed", "done"))]
        expect(len(line) == 1 and re.search(pattern, line[0]) and "ended with 1" in said,
               f"{kind}: {line[0] if line else said}")
    said = box.shell("klatsch update /run/bad/foreign.raucb; echo ended with $?", 180)
    expect("is for the board rpi-other" in said and "ended with 0" not in said,
           "klatsch update, by the daemon and root's service: " + said.splitlines()[0])
    expect(slots(box.card) == before, "the slots are as they were")
    said = box.shell("/usr/lib/klatsch/update --stay /run/bad/flipped.raucb; echo ended with $?", 180)
    line = [line for line in said.splitlines() if line.startswith(("refused", "failed", "done"))]
    expect(len(line) == 1 and line[0].startswith(("failed", "refused")) and "ended with 1" in said,
           f"a byte changed within: {line[0] if line else said}")
    box.shell("umount /run/bad")


def fallback(box, reborn, bad_file):
    """The other slot is installed anew, and in it the chat never answers."""
    was = box.shell("/usr/lib/klatsch/slot get-current")
    other = "B" if was == "A" else "A"
    print(f"= slot {other} is installed and never answers", flush=True)
    where = box.shell("ls /sys/block | grep '^sd' | tail -n 1")
    said = box.shell(f"mkdir -p /run/again && mount -o ro /dev/{where} /run/again && "
                     f"/usr/lib/klatsch/update --stay /run/again/{bad_file}; umount /run/again", 300)
    expect(f"stands in slot {other}" in said, said.splitlines()[-1])
    box.cut()
    write_fat(box.card, "extra.txt", "extra=systemd.debug_shell=hvc0 klatsch.trial=60 "
              "systemd.mask=klatsch.service systemd.mask=klatsch.socket\n")
    box = reborn()
    for left in (2, 1, 0):
        box.line.wait(rf"klatsch: slot {other}, then {left} more", BOOT_S)
        print(f"  slot {other} is tried, {left} tries left, after {box.age():.0f} s", flush=True)
    box.line.wait(rf"klatsch: slot {was}, then", BOOT_S)
    expect(True, f"after three starts without an answer U-Boot takes slot {was} again")
    box.cut()
    write_fat(box.card, "extra.txt", "extra=systemd.debug_shell=hvc0\n")
    box = reborn()
    box.chats(slot=was)
    box.good(was, trial=other)
    expect(slots(box.card)["kl_" + other.lower()] == "0", f"slot {was} chats and is good, {other} stays out of use")
    return box


def hang(box):
    """PID 1 stops for good, and with it what feeds the watchdog."""
    print("= the system hangs", flush=True)
    box.line.mark = len(box.line.text)
    box.root.type("kill -SEGV 1\n")
    began = time.monotonic()
    box.line.wait(r"klatsch: slot [AB], then", BOOT_S)
    expect(True, f"the watchdog restarted it after {time.monotonic() - began:.0f} s")
    box.restarts()
    box.line.wait(r"Starting kernel", BOOT_S)
    box.answers()


def main():
    name = sys.argv[1]
    seed = int(os.environ.get("KLATSCH_SEED", time.time()))
    random.seed(seed)
    print(f"seed {seed}; image {os.path.getsize(image(name)):,} bytes, "
          f"{os.stat(image(name)).st_blocks * 512:,} in use; update {os.path.getsize(image(name, 'raucb')):,}")
    scratch = tempfile.mkdtemp(prefix="klatsch-image")
    lan.make(["alpha", "beta"])
    running = {}

    def start(who):
        mac = "52:54:00:6b:6c:0" + ("a" if who == "alpha" else "b")
        running[who] = Box(name, cards[who], f"tap,id=lan,ifname={who},script=no,downscript=no",
                           mac, scratch)
        return running[who]

    try:
        # beside the image, not in /tmp: its disk is used without the host's cache
        where = os.path.dirname(image(name))
        cards = {who: new_card(name, os.path.join(where, f"{who}.img")) for who in ("alpha", "beta")}
        alpha, beta = start("alpha"), start("beta")
        nora = lan.Person("nora")
        kinds, bad, stick, good = bundles.make(name, scratch)
        took = both(Box.chats, [alpha, beta])
        print("from power to chat: " + ", ".join(f"{seconds:.0f} s" for seconds in took.values()), flush=True)
        chat(alpha, beta, nora)
        memory(alpha)
        own, before = unlike(alpha, beta), elsewhere(cards["beta"])
        for number in range(1, int(os.environ.get("KLATSCH_CUTS", 1)) + 1):
            beta = cut_in_chat(alpha, beta, lambda: start("beta"), number)
        now = identity(beta)
        expect(now == own, f"beta's machine-id, host name and key are as they were: {own}" + ("" if now == own else f", now {now}"))
        expect(elsewhere(cards["beta"]) == before, "of its card nothing but the data partition and the slots' sector changed")
        alpha.good("A")
        alpha.stick(bad, 9)
        refusals(alpha, kinds)
        alpha.unplug(9)
        alpha = update(alpha, lambda: start("alpha"), good, stick,
                       int(os.environ.get("KLATSCH_UPDATE_CUTS", 1)))
        if os.environ.get("KLATSCH_FALLBACK"):
            alpha = fallback(alpha, lambda: start("alpha"), f"klatsch-{name}.raucb")
            hang(alpha)
        beta.line.ask("MSG alpha after the update", r"delivered", BACK_S)
        expect("after the update" in history(alpha, "beta"), "beta's text reached the updated alpha")
        print("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; two boxes chat")
    except Failed as error:
        print(f"FAILED: {error}\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out")
        sys.exit(1)
    finally:
        for who, box in running.items():
            box.free()
            with open(os.path.join(os.path.dirname(image(name)), who + ".log"), "w", encoding="utf-8") as log:
                log.write(box.line.text)
        for who in ("alpha", "beta"):
            path = os.path.join(os.path.dirname(image(name)), f"{who}.img")
            if os.path.exists(path) and not os.environ.get("KLATSCH_KEEP"):
                os.remove(path)
        remove(scratch)


if __name__ == "__main__":
    main()
