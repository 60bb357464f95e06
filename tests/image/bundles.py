"""Updates to be installed and to be refused, made of the image's own, and USB sticks of them."""

import os
import subprocess

from box import TOP, host, image

TOOLS = os.path.join(TOP, "target/board/tools")
KEYS = os.path.join(TOP, "target/board/keys")
GOOD = "99.1-test"


def tool(scratch, *command):
    """A program of the tools' own system; the scratch folder is /board there."""
    return host("unshare", "--mount", "sh", "-c",
                'mount --bind "$1" "$2/board" && mount -t proc proc "$2/proc" && mount --bind /dev "$2/dev" '
                '&& tools=$2 && shift 2 && exec chroot "$tools" "$@"', "sh", scratch, TOOLS, *command)


def bundle(scratch, file, slot, compatible, version, key="update"):
    folder = os.path.join(scratch, "bundle")
    subprocess.run(["rm", "-rf", folder], check=True)
    os.mkdir(folder)
    os.link(os.path.join(scratch, slot), os.path.join(folder, "slot.ext4"))
    with open(os.path.join(folder, "manifest.raucm"), "w", encoding="ascii") as manifest:
        manifest.write(f"[update]\ncompatible={compatible}\nversion={version}\n\n"
                       "[bundle]\nformat=verity\n\n[image.system]\nfilename=slot.ext4\n")
    tool(scratch, "rauc", f"--cert=/board/{key}.cert.pem", f"--key=/board/{key}.key.pem",
         "bundle", "/board/bundle", f"/board/{file}")


def stick(scratch, name, files, mb):
    """A USB stick: FAT without a partition table, as many are sold."""
    path = os.path.join(scratch, name)
    with open(path, "wb") as image_file:
        image_file.truncate(mb << 20)
    tool(scratch, "mkfs.vfat", "-F", "32", f"/board/{name}")
    for file, called in files:
        host("mcopy", "-i", path, os.path.join(scratch, file), f"::{called}")
    return path


def make(name, scratch):
    """(what each bad bundle's refusal says, the stick of them, the stick with the good one, its version)"""
    source = os.path.dirname(image(name))
    for file in ("update.cert.pem", "update.key.pem"):
        host("cp", os.path.join(KEYS, file), scratch)
    host("cp", os.path.join(source, "slot.ext4"), os.path.join(scratch, "slot.ext4"))
    # a slot without a system in it
    with open(os.path.join(scratch, "empty.ext4"), "wb") as slot:
        slot.truncate(2 << 20)
    os.mkdir(os.path.join(scratch, "noise"))
    with open(os.path.join(scratch, "noise", "noise"), "wb") as file:
        file.write(os.urandom(300_000))
    tool(scratch, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", "/board/noise", "/board/empty.ext4")
    host("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=somebody",
         "-keyout", os.path.join(scratch, "other.key.pem"), "-out", os.path.join(scratch, "other.cert.pem"))
    bundle(scratch, "good.raucb", "slot.ext4", name, GOOD)
    bundle(scratch, "foreign.raucb", "empty.ext4", "rpi-other", "1")
    bundle(scratch, "stranger.raucb", "empty.ext4", name, "1", key="other")
    bundle(scratch, "broken.raucb", "empty.ext4", name, "1")
    with open(os.path.join(scratch, "broken.raucb"), "rb") as file:
        whole = file.read()
    for kind, data in (("truncated", whole[:len(whole) * 2 // 3]), ("unsigned", whole[:0x20000] + bytes(8)),
                       ("text", b"no update\n" * 10000), ("short", b"hsqs")):
        with open(os.path.join(scratch, kind + ".raucb"), "wb") as file:
            file.write(data)
    kinds = {
        "foreign": r"^refused: the bundle is for the board rpi-other",
        "stranger": r"^refused: the bundle is not signed with the key that this box trusts",
        "truncated": r"^refused: the bundle is cut off or not signed",
        "unsigned": r"^refused: the bundle is cut off or not signed",
        "text": r"^refused: the file is no klatsch update",
        "short": r"^refused: the file has 4 bytes",
        "absent": r"^refused: there is no file",
    }
    bad = stick(scratch, "bad.img", [(f"{kind}.raucb", f"{kind}.raucb") for kind in kinds if kind != "absent"], 64)
    good = stick(scratch, "good.img", [("good.raucb", f"klatsch-{name}.raucb")], 128)
    return kinds, bad, good, GOOD
