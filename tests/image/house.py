#!/usr/bin/env python3
"""What a box does by itself, beside chatting: tests/image/house.py NAME (tests/image/run calls it, in
a network namespace of its own).

Looks at what is mounted and written, the watchdog, the journal's copy, the LED as it is on the
board's pin, hooks, and the clock: by a visitor's browser, by the operator, over a restart; then a new
version is handed in by `klatsch update` and one by the operator's part of the page; in the end the
card names a time server. The machine has a battery clock that stands in 2001, as good as none, and an
LED on a line of its GPIO chip, under the name that a Pi's has. KLATSCH_HOUSE names parts, else all.
"""

import http.client
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import bundles
import lan
from box import BOOT_S, TOP, Box, Failed, expect, host, image, new_card, remove, shown, slots, write_fat

CARD = """led = "ACT"
[web]
operator-pin = "815-operator"
[time]
server = "none"
"""
SERVED = f"""[time]
server = "{lan.OWN}"
"""
# What the time server says: 2028-05-06 07:08:09, in seconds since 1970, and since 1900 for NTP.
SAID, NTP = 1_841_209_689, 2_208_988_800
# QEMU's virt: the PL061 at 0x0903_0000, its data register with all eight lines unmasked.
PIN = 0x0903_03FC
# With ACPI the machine has another chip in its place.
GPIO = ("-M", "acpi=off")
HOOK = r"""#!/bin/sh
cat >/var/lib/klatsch/hook.new && mv /var/lib/klatsch/hook.new /var/lib/klatsch/hook.seen
"""


def tree(name, scratch):
    """The machine's own device tree, with an LED on the first line of its GPIO chip."""
    path = os.path.join(scratch, "led.dtb")
    env = dict(os.environ, KLATSCH_CARD=image(name), KLATSCH_SERIAL="null")
    subprocess.run([os.path.join(TOP, "board/run"), name, *GPIO, "-M", f"dumpdtb={path}", "-snapshot"],
                   env=env, check=True, capture_output=True, timeout=60)
    chip = host("fdtget", path, "/pl061@9030000", "phandle").strip()
    host("fdtput", "-c", path, "/leds")
    host("fdtput", "-c", path, "/leds/led-act")
    host("fdtput", "-t", "s", path, "/leds", "compatible", "gpio-leds")
    host("fdtput", "-t", "s", path, "/leds/led-act", "label", "ACT")
    host("fdtput", "-t", "i", path, "/leds/led-act", "gpios", chip, "0", "0")
    return path


def beats(box, seconds):
    """How long the pin was high and low, in turn: (level, seconds), the cut-off ends left out."""
    seen, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        said = box.qmp("human-monitor-command", **{"command-line": f"xp /1wx {PIN:#x}"})
        level = int(said.split(":")[1], 16) & 1
        if not seen or seen[-1][0] != level:
            seen.append((level, time.monotonic()))
        time.sleep(0.01)
    return [(level, after - at) for (level, at), (_, after) in zip(seen, seen[1:])][1:], seen


def led(box, nora):
    print("= the LED, read from the board's pin", flush=True)
    there = box.shell("cd /sys/class/leds/ACT && cat brightness trigger && stat -c '%G %a' brightness trigger")
    expect("[none]" in there and there.count("klatsch 664") == 2, "the kernel has an LED ACT, and it is klatsch's: "
           + there.replace("\n", ", ")[:80])
    box.line.ask("WHO", r"> $")
    time.sleep(1)
    _, seen = beats(box, 5)
    expect([level for level, _ in seen] == [1], "all is well and read: steadily on")
    nora.say('MSG alpha "look at the lamp"', to=nora.where("alpha"))
    box.line.wait("look at the lamp")
    slow, _ = beats(box, 12)
    expect(len(slow) >= 6 and sum(0.5 < length < 1.7 for _, length in slow) >= len(slow) - 2,
           "somebody wrote: on and off each second: " + ", ".join(f"{length:.1f}" for _, length in slow))
    box.line.ask("HISTORY nora 3", r"look at the lamp")
    time.sleep(2)
    _, seen = beats(box, 4)
    expect([level for level, _ in seen] == [1], "it was read: steadily on")
    box.qmp("set_link", name="lan", up=False)
    time.sleep(8)
    flash, _ = beats(box, 12)
    dark = [length for level, length in flash if not level and length > 1]
    lit = [length for level, length in flash if level]
    expect(len(dark) >= 3 and len(lit) >= 2 * len(dark) - 1 and sorted(lit)[len(lit) // 2] < 0.5,
           "the cable is pulled: two flashes every two seconds: " + ", ".join(f"{length:.2f}" for _, length in flash))
    box.qmp("set_link", name="lan", up=True)
    end = time.monotonic() + 90
    while [level for level, _ in beats(box, 4)[1]] != [1]:
        if time.monotonic() > end:
            raise Failed("the LED does not come back to steady")
    expect(True, "and plugged in again: steadily on")


def hooks(box, nora):
    print("= a hook", flush=True)
    box.shell("mkdir -p /etc/klatsch/hooks && cat >/etc/klatsch/hooks/message <<'END'\n" + HOOK + "END\n"
              "chmod 755 /etc/klatsch/hooks/message && systemctl reload klatsch")
    nora.say('MSG alpha "for the hook"', to=nora.where("alpha"))
    said = json.loads(box.shell("until [ -e /var/lib/klatsch/hook.seen ]; do sleep 0.5; done; "
                                "cat /var/lib/klatsch/hook.seen", 90))
    expect(said["kind"] == "message" and "for the hook" in json.dumps(said), "/etc/klatsch/hooks/message has the event as JSON")


def system(box):
    print("= the system", flush=True)
    mounts = {line.split()[1]: line.split() for line in box.shell("cat /proc/mounts").splitlines()}
    expect(mounts["/"][2] == "squashfs" and mounts["/"][3].startswith("ro"), "the root is a squashfs, read-only")
    expect(mounts["/run/slot"][3].startswith("ro"), "the slot that it lies in too")
    disks = [where for where, line in mounts.items() if re.match(r"/dev/(vd|mmcblk)", line[0]) and "rw" in line[3].split(",")]
    expect(set(disks) == {"/data", "/var/lib/klatsch", "/var/lib/systemd"}, f"writable on the card: {', '.join(sorted(disks))}")
    said = box.shell("cat /sys/class/block/vda1/stat /sys/class/block/vda2/stat /sys/class/block/vda3/stat")
    writes = [int(line.split()[4]) for line in said.splitlines()]
    print(f"  writes since power to the FAT partition and the slots: {writes}", flush=True)
    mb = int(box.shell("df -m /data | tail -n 1 | awk '{print $2}'"))
    expect(mb > 250, f"the data partition grew with the card: {mb} MB")
    expect(box.shell("systemctl is-system-running || true") == "running", "no unit failed")
    said = box.shell("cat /sys/class/watchdog/watchdog0/identity /sys/class/watchdog/watchdog0/state; "
                     "systemctl show --property=RuntimeWatchdogUSec,WatchdogDevice")
    expect("i6300ESB" in said and "\nactive\n" in said.replace("\r", "") + "\n" and "RuntimeWatchdogUSec=15s" in said,
           "the watchdog is on: " + ", ".join(said.split("\n")[:2]))


def journal(box):
    print("= the journal's copy", flush=True)
    expect(box.shell("ls -d /var/log/journal /data/log/journal 2>/dev/null || true") == ""
           and box.shell("ls -d /run/log/journal/*") != "", "the journal is in memory")
    box.shell("for n in $(seq 3000); do echo \"line $n of a talkative program, said " + "again and again " * 16 + "\"; "
              "done | systemd-cat -t talkative; systemctl start klatsch-log-keep", 120)
    size = int(box.shell("stat -c %s /data/log/0.log"))
    expect(size == 262_144 and "talkative" in box.shell("tail -n 3 /data/log/0.log"),
           f"of 3000 long lines the last are in /data/log/0.log: {size:,} bytes")
    used = int(box.shell("journalctl --disk-usage -o cat | grep -oE '[0-9.]+[KM]' | tail -n 1 | tr -d . "
                         "| sed 's/K/ 1024/; s/M/ 104858/' | awk '{print $1 * $2}'"))
    expect(used <= 9 << 20, f"the journal itself takes {used / (1 << 20):.1f} MB of memory, 8 at most")
    said = box.shell("for n in $(seq 12); do /usr/lib/klatsch/log rotate; echo $n >/data/log/0.log; done; "
                     "ls /data/log; cat /data/log/7.log")
    expect(said.split() == [f"{n}.log" for n in range(8)] + ["5"], "of twelve starts the last eight have one")


def clock(box):
    print("= the clock", flush=True)
    said = box.shell("cat /sys/class/rtc/rtc0/since_epoch; date +%s; stat -c %Y /usr/lib/clock-epoch 2>/dev/null || true")
    rtc, now = (int(word) for word in said.split()[:2])
    expect(rtc < 1_100_000_000 < now, f"the battery clock stands in {time.gmtime(rtc).tm_year}, the box in {time.gmtime(now).tm_year}")
    expect("not confirmed" in box.line.ask("DOCTOR", r"clock +[^\n]*\n"), "the box says that its clock is not confirmed")
    ahead = now + 40 * 86_400
    status, _, said = ask(box, "/api/v1/session", json.dumps({"handle": "visitor", "clock": ahead * 1000}))
    expect(status == 200, f"a visitor's browser says {time.strftime('%F %H:%M', time.gmtime(ahead))} as it enters: {status}")
    end = time.monotonic() + 60
    while not 0 <= int(box.shell("date +%s")) - ahead < 600:
        if time.monotonic() > end:
            raise Failed("the box did not take the visitor's time: " + box.shell("date -u"))
        time.sleep(1)
    expect("not confirmed" in box.line.ask("DOCTOR", r"clock +[^\n]*\n"), "the box takes it, and still says that its clock is not confirmed")
    for later in (ahead + 10 * 86_400, now):
        status, _, said = ask(box, "/api/v1/session", json.dumps({"handle": f"visitor{later}", "clock": later * 1000}))
        expect(status == 200, f"another visitor says {time.strftime('%F', time.gmtime(later))}: {status}")
    time.sleep(5)
    expect(0 <= int(box.shell("date +%s")) - ahead < 900, "once only: nobody after the first moves it, on or back")
    box.line.ask("CONFIG TIME 2027-02-03 04:05", r"> $")
    end = time.monotonic() + 60
    while not box.shell("date -u '+%F %H'").startswith("2027-02-03 04"):
        if time.monotonic() > end:
            raise Failed("CONFIG TIME did nothing")
        time.sleep(1)
    expect(True, "CONFIG TIME on the console sets it")
    box.line.ask("REBOOT", r"klatsch: slot [AB], then", BOOT_S)
    box.restarts()
    box.line.wait(r"Starting kernel", BOOT_S)
    box.answers()
    now = box.shell("date -u +%s")
    since = int(now) - 1_801_627_500
    expect(0 <= since < 1200, f"after the restart it goes on from there: {since} s after the time that was set")
    said = box.shell("cat /sys/class/block/vda1/stat /sys/class/block/vda2/stat /sys/class/block/vda3/stat")
    writes = [int(line.split()[4]) for line in said.splitlines()]
    expect(writes == [0, 0, 0], "and in this start not one sector of the FAT partition and of the slots was written")


def time_server():
    """RFC 5905's server, as far as one needs it who asks by SNTP."""
    end, began = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), time.monotonic()
    end.bind((lan.OWN, 123))

    def serve():
        while True:
            asked, who = end.recvfrom(512)
            if len(asked) < 48 or asked[0] & 7 != 3:
                continue
            now = struct.pack(">II", int(SAID + NTP + time.monotonic() - began), 0)
            # version 4, server, stratum 1; asked when it says (its bytes 40 to 47 come back)
            end.sendto(struct.pack(">BBbbII4s", 0x24, 1, 6, -20, 0, 0, b"LOCL") + now + asked[40:48] + now + now, who)
    threading.Thread(target=serve, daemon=True).start()
    return began


def server(box, start):
    print("= a time server", flush=True)
    box.shell("sync")
    box.cut()
    write_fat(box.card, "klatsch.toml", SERVED)
    began = time_server()
    box = start()
    box.chats()
    end = time.monotonic() + 180
    while not 0 <= int(box.shell("date +%s")) - SAID <= time.monotonic() - began + 2:
        if time.monotonic() > end:
            raise Failed("the box has not the server's time: " + box.shell("date -u; timedatectl timesync-status; "
                         "journalctl -b --no-pager -o cat -u systemd-timesyncd; true"))
        time.sleep(2)
    expect(True, "a time server on the card: the box has its time, " + box.shell("date -u '+%F %H:%M'"))
    said = box.line.ask("DOCTOR", r"clock +[^\n]*\n")
    expect("not confirmed" not in said and "2028-05-06" in said, "and DOCTOR takes it for confirmed")


def ask(box, path, body, cookies="", kind="application/json", seconds=60):
    """A POST to the box's page: status, cookie, what it said."""
    address = re.search(r"inet (169\.254\.\d+\.\d+)", box.shell("ip -4 addr")).group(1)
    connection = http.client.HTTPConnection(address, 80, timeout=seconds)
    headers = {"Content-Type": kind}
    if cookies:
        headers["Cookie"] = cookies
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.getheader("Set-Cookie") or "", answer.read().decode()


def console_update(box, stick, good):
    print("= klatsch update FILE", flush=True)
    box.stick(stick, 3)
    where = box.shell("until ls /sys/block | grep -q '^sd'; do sleep 0.5; done; ls /sys/block | grep '^sd' | tail -n 1", 60)
    # under another name: the stick's own service has nothing to do with it
    said = box.shell(f"mkdir -p /run/from && mount -o ro /dev/{where} /run/from && klatsch update /run/from/new.raucb; "
                     "echo ended with $?", 300)
    expect(f"{good} stands in slot B" in said and "ended with 0" in said, said.split("\n")[-2].strip())
    box.restarts()
    box.line.wait(r"klatsch: slot B, then", BOOT_S)
    box.line.wait(r"Starting kernel", BOOT_S)
    box.answers()
    box.good("B")
    expect(True, "slot B runs, and was marked good")
    box.unplug(3)


def page_update(box, scratch):
    print("= the operator's part of the page", flush=True)
    with open(os.path.join(scratch, "good.raucb"), "rb") as file:
        bundle = file.read()
    with open(os.path.join(scratch, "stranger.raucb"), "rb") as file:
        stranger = file.read()
    status, _, _ = ask(box, "/api/v1/update", b"x", kind="application/octet-stream")
    expect(status == 401, "nobody but the operator hands an update in: 401")
    status, _, _ = ask(box, "/api/v1/operator", json.dumps({"pin": "4711"}))
    expect(status != 200, f"a wrong PIN: {status}")
    status, cookie, said = ask(box, "/api/v1/operator", json.dumps({"pin": "815-operator"}))
    expect(status == 200 and cookie, "the card's operator PIN opens it")
    cookie = cookie.split(";")[0]
    status, _, said = ask(box, "/api/v1/update", stranger, cookie, "application/octet-stream", 300)
    expect(status >= 400 and "not signed with the key" in said, f"a stranger's bundle: {status} {json.loads(said).get('message', said)}")
    status, _, said = ask(box, "/api/v1/update", bundle, cookie, "application/octet-stream", 600)
    expect(status == 200 and "stands in slot A" in said, f"the new version: {status} {said}")
    box.restarts()
    box.line.wait(r"klatsch: slot A, then", BOOT_S)
    box.line.wait(r"Starting kernel", BOOT_S)
    box.answers()
    box.good("A")
    expect(slots(box.card)["kl_order"] == "A B", "slot A runs, and was marked good")


def main():
    name = sys.argv[1]
    scratch = tempfile.mkdtemp(prefix="klatsch-house")
    lan.make(["alpha"])
    try:
        with shown(name, "house", "a box by itself") as (card, boxes):
            new_card(name, card)
            write_fat(card, "klatsch.toml", CARD)
            kinds, _, _, good = bundles.make(name, scratch)
            stick = bundles.stick(scratch, "new.img", [("good.raucb", "new.raucb")], 128)
            leds = tree(name, scratch)

            def start():
                boxes.append(Box(name, card, "tap,id=lan,ifname=alpha,script=no,downscript=no", scratch=scratch,
                                 more=(*GPIO, "-dtb", leds, "-rtc", "base=2001-02-03T04:05:06")))
                return boxes[-1]

            box = start()
            nora = lan.Person("nora")
            print(f"from power to chat: {box.chats():.0f} s", flush=True)
            box.line.ask("HANDLE alpha", r"alpha> ")
            nora.where("alpha")
            nora.join()
            box.good("A")
            parts = {"system": lambda: system(box), "led": lambda: led(box, nora), "hooks": lambda: hooks(box, nora),
                     "journal": lambda: journal(box), "clock": lambda: clock(box),
                     "console": lambda: console_update(box, stick, good),
                     "page": lambda: page_update(box, scratch), "server": lambda: server(box, start)}
            for part in os.environ.get("KLATSCH_HOUSE", " ".join(parts)).split():
                parts[part]()
    finally:
        remove(scratch)


if __name__ == "__main__":
    main()
