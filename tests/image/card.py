#!/usr/bin/env python3
"""What must be on a board's card, looked at without booting it.

tests/image/card.py NAME: partition table, files of the FAT partition, config.txt, U-Boot's script
and the kernel's command line in it, kernel, device trees, the slot and its root.
"""

import os
import re
import struct
import subprocess
import sys
import tempfile

from box import FAT_OFFSET, TOP, Failed, expect, host, image, read_fat

SECTOR = 512
# offset and magic of the kernel's header: Documentation/arch/arm64/booting.rst, zImage
KERNELS = {"arm64": (56, b"ARM\x64"), "armhf": (36, bytes.fromhex("18286f01"))}
# That a Pi shows how the chat is with, where it is not ACT: docs/flash.md.
LEDS = {"bcm2711-rpi-400.dtb": "PWR", "bcm2712-rpi-5-b.dtb": None}
# What the USB port that dwc2 drives is for, where it is not the host's: docs/flash.md.
PORTS = {"bcm2837-rpi-zero-2-w.dtb": "otg", "bcm2711-rpi-4-b.dtb": "peripheral", "bcm2711-rpi-400.dtb": "peripheral",
         "bcm2712-rpi-5-b.dtb": None}
BOARDS = {
    "qemu-arm64": {"arch": "arm64", "console": ["ttyAMA0"]},
    "qemu-armhf": {"arch": "armhf", "console": ["ttyAMA0"]},
    "rpi-arm64": {
        "arch": "arm64", "console": ["ttyS1", "ttyAMA10"],
        # QEMU's raspi3b leaves the device tree where a RAM of 1 GB has its 128th MiB
        "taken": [(0x0800_0000, 0x0801_0000)],
        "config": ["arm_64bit=1", "kernel=u-boot.bin", "enable_uart=1", "upstream_kernel=1", "gpu_mem=16"],
        "files": ["bootcode.bin", "start_cd.elf", "fixup_cd.dat", "start4cd.elf", "fixup4cd.dat", "u-boot.bin",
                  "LICENCE.broadcom"],
        "trees": {"bcm2837-rpi-3-b.dtb": "brcm,bcm2837", "bcm2837-rpi-3-b-plus.dtb": "brcm,bcm2837",
                  "bcm2837-rpi-3-a-plus.dtb": "brcm,bcm2837", "bcm2837-rpi-zero-2-w.dtb": "brcm,bcm2837",
                  "bcm2711-rpi-4-b.dtb": "brcm,bcm2711", "bcm2711-rpi-400.dtb": "brcm,bcm2711",
                  "bcm2712-rpi-5-b.dtb": "brcm,bcm2712"},
        "root": ["usr/lib/firmware/brcm/brcmfmac43430-sdio.bin", "usr/lib/firmware/brcm/brcmfmac43455-sdio.bin",
                 "usr/sbin/wpa_supplicant", "usr/sbin/hostapd", "usr/lib/firmware/regulatory.db"],
        "modules": ["brcmfmac", "genet", "smsc95xx", "lan78xx", "sdhci-iproc", "bcm2835_wdt", "dwc2",
                    "leds-gpio", "usb_f_acm", "usb_f_ncm"],
    },
    "rpi-armhf": {
        "arch": "armhf", "console": ["ttyAMA0", "ttyS1"],
        "config": ["[pi2]", "kernel=u-boot-2.bin", "[pi3]", "kernel=u-boot-3.bin", "enable_uart=1",
                   "upstream_kernel=1"],
        "files": ["bootcode.bin", "start_cd.elf", "fixup_cd.dat", "u-boot-2.bin", "u-boot-3.bin",
                  "LICENCE.broadcom"],
        "trees": {"bcm2836-rpi-2-b.dtb": "brcm,bcm2836", "bcm2837-rpi-3-b.dtb": "brcm,bcm2837"},
        "root": ["usr/lib/firmware/brcm/brcmfmac43430-sdio.bin", "usr/sbin/hostapd"],
        "modules": ["brcmfmac", "smsc95xx", "lan78xx", "dwc2", "leds-gpio"],
    },
}


def partitions(card):
    with open(card, "rb") as disk:
        mbr = disk.read(SECTOR)
    expect(mbr[510:512] == b"\x55\xaa" and mbr[440:444] == b"talk", "an MBR that bears our signature")
    table = []
    for at in range(446, 510, 16):
        active, kind, start, count = mbr[at], mbr[at + 4], *struct.unpack("<II", mbr[at + 8:at + 16])
        table.append((active, kind, start, count))
    kinds = [kind for _, kind, _, _ in table]
    expect(kinds == [0x0c, 0x83, 0x83, 0x83], "FAT, slot A, slot B, data")
    expect(table[0][0] == 0x80 and table[0][2] * SECTOR == FAT_OFFSET, "the FAT partition is active, at 4 MiB: "
           "the slots' sector at 1 MiB lies before it")
    for before, after in zip(table, table[1:]):
        expect(before[2] + before[3] <= after[2], f"partition at {after[2]} begins behind the one before")
    expect(table[1][3] == table[2][3], "both slots have the same size")
    return table


def script(card, board):
    raw = subprocess.run(["mtype", "-i", f"{card}@@{FAT_OFFSET}", "::boot.scr"], check=True,
                         capture_output=True, timeout=60).stdout
    expect(raw[:4] == bytes.fromhex("27051956"), "boot.scr is U-Boot's")
    text = raw.decode("utf-8", "replace")
    expect(not re.search(r"@[A-Z]+@", text), "nothing in boot.scr is left to be filled in")
    line = re.search(r'setenv bootargs "([^"]*)"', text).group(1)
    for console in board["console"]:
        expect(f"console={console},115200" in line, f"the kernel's command line has {console}")
    expect("klatsch.slot=${kl_s}" in line and "panic=10" in line, "and the slot, and a restart after a panic")
    return text


def trees(card, board):
    for name, compatible in board.get("trees", {}).items():
        raw = subprocess.run(["mtype", "-i", f"{card}@@{FAT_OFFSET}", f"::{name}"], check=True,
                             capture_output=True, timeout=60).stdout
        expect(raw[:4] == b"\xd0\x0d\xfe\xed" and compatible.encode() in raw, f"{name} is a device tree of {compatible}")
        led = LEDS.get(name, "ACT")
        if led:
            # a property of four bytes: its length, its name's place, itself
            expect(b"gpio-leds\0" in raw and re.search(rb"(?s)\0\0\0\x04...." + led.encode() + b"\0", raw),
                   f"{name} has an LED that is called {led}")
        port = PORTS.get(name, "host")
        if port:
            said = port.encode() + b"\0"
            expect(re.search(rb"(?s)" + re.escape(struct.pack(">I", len(said))) + b"...." + said, raw),
                   f"{name}: the USB port that dwc2 drives is for: {port}")


def places(text, slot, unpacked, taken):
    """Where U-Boot's script puts what it loads: nothing upon anything else, nor on a device tree."""
    found = re.search(r"(0x\w+) /kernel && unzip \1 (0x\w+) && load \S+ \S+ (0x\w+) /initrd", text)
    size = lambda file: os.path.getsize(os.path.join(slot, file))
    # what the kernel takes with what it clears: Documentation/arch/arm64/booting.rst, image_size
    sizes = (size("kernel"), struct.unpack("<Q", unpacked[16:24])[0], size("initrd"))
    parts = sorted([*((int(at, 16), int(at, 16) + n) for at, n in zip(found.groups(), sizes)), *taken])
    expect(all(one[1] <= other[0] for one, other in zip(parts, parts[1:])), "the script loads nothing upon anything else: "
           + ", ".join(f"{at:#x} to {end:#x}" for at, end in parts))


def slot(card, table, board, name, text):
    with tempfile.TemporaryDirectory() as scratch:
        mounted = []
        try:
            for what, where, offset in ((card, "slot", table[1][2] * SECTOR), (None, "root", 0)):
                folder = os.path.join(scratch, where)
                os.mkdir(folder)
                what = what or os.path.join(scratch, "slot", "root.squashfs")
                host("mount", "-o", f"ro,loop,offset={offset}", what, folder)
                mounted.append(folder)
            top, root = mounted
            expect(sorted(f for f in os.listdir(top) if f != "lost+found") ==
                   ["initrd", "kernel", "root.squashfs", "version"], "the slot: kernel, initrd, root, version")
            with open(os.path.join(top, "version"), encoding="ascii") as file:
                expect(file.read().startswith(name + " "), "the version names the board")
            data = subprocess.run(["zcat", "-f", os.path.join(top, "kernel")], check=True, capture_output=True).stdout
            at, magic = KERNELS[board["arch"]]
            expect(data[at:at + 4] == magic, f"a kernel for {board['arch']}, {len(data):,} bytes unpacked")
            if board["arch"] == "arm64":
                places(text, top, data, board.get("taken", []))
            with open(os.path.join(top, "initrd"), "rb") as file:
                expect(file.read(4) == b"\x28\xb5\x2f\xfd", "the initrd is zstd's")
            for path in board.get("root", []) + ["usr/bin/klatsch", "usr/bin/rauc", "etc/rauc/keyring.pem",
                                                 "usr/lib/klatsch/klatsch-request", "usr/lib/klatsch/update",
                                                 "usr/lib/systemd/systemd", "usr/share/doc/copyright.tar.xz"]:
                expect(os.path.lexists(os.path.join(root, path)), f"/{path}")
            linked(root)
            listed = subprocess.run(["find", os.path.join(root, "usr/lib/modules"), "-name", "*.ko"], check=True,
                                    capture_output=True, text=True).stdout
            have = {os.path.basename(path)[:-3].replace("-", "_") for path in listed.split()}
            with open(subprocess.run(["find", os.path.join(root, "usr/lib/modules"), "-name", "modules.builtin"],
                                     check=True, capture_output=True, text=True).stdout.strip(),
                      encoding="ascii") as file:
                have |= {os.path.basename(line.strip())[:-3].replace("-", "_") for line in file}
            for module in board.get("modules", []):
                expect(module.replace("-", "_") in have, f"the kernel's {module}")
            for unit in ("klatsch.service", "klatsch-web.socket", "klatsch-good.service", "klatsch-request.path",
                         "klatsch-provision.service"):
                found = subprocess.run(["find", os.path.join(root, "etc/systemd/system"), "-name", unit],
                                       check=True, capture_output=True, text=True).stdout
                expect(found, f"{unit} is enabled")
            with open(os.path.join(root, "etc/shadow"), encoding="ascii") as file:
                expect(not [line for line in file if line.split(":")[1] not in ("*", "!", "!*", "!!")],
                       "no user has a password")
        finally:
            for folder in reversed(mounted):
                subprocess.run(["umount", "--lazy", folder], check=False)  # its loop is let go of a little later


def linked(root):
    """No program lost a library with the packages that board/system/unwanted takes out."""
    have, programs = set(), []
    for folder, _, files in os.walk(os.path.join(root, "usr")):
        for path in (os.path.join(folder, file) for file in files):
            if os.path.exists(path):
                have.add(os.path.basename(path))
            if os.path.islink(path):
                continue
            with open(path, "rb") as file:
                if file.read(4) == b"\x7fELF" and not path.endswith(".ko"):
                    programs.append(path)
    said = host("readelf", "-dW", *programs)
    wanted = set(re.findall(r"\(NEEDED\).*\[(.*)\]", said))
    expect(len(programs) > 100 and wanted and wanted <= have,
           f"{len(programs)} programs and libraries find the {len(wanted)} libraries that they are linked to"
           + "".join(f", but for {name}" for name in sorted(wanted - have)))


def main():
    name = sys.argv[1]
    board, card = BOARDS[name], image(name)
    print(f"= the card of {name}")
    try:
        table = partitions(card)
        listing = host("mdir", "-b", "-i", f"{card}@@{FAT_OFFSET}", "::").replace("::/", "").split()
        for file in board.get("files", []) + ["boot.scr", "klatsch.toml"]:
            expect(file in listing, f"{file} is on the FAT partition")
        if "config" in board:
            lines = read_fat(card, "config.txt").split("\n")
            for line in board["config"]:
                expect(line in lines, f"config.txt: {line}")
            for kernel in re.findall(r"(?m)^kernel=(.*)$", "\n".join(lines)):
                expect(kernel in listing, f"the {kernel} that config.txt names is there")
        text = script(card, board)
        trees(card, board)
        slot(card, table, board, name, text)
        print("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; the card of " + name)
    except Failed as error:
        print(f"FAILED: {error}\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out")
        sys.exit(1)


main()
