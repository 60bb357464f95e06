#!/usr/bin/env python3
"""A box's Wi-Fi as its card's klatsch.toml has it: tests/image/radio.py NAME (tests/image/run calls it).

The radios are the kernel's own make-believe ones (mac80211_hwsim): two, one air between them. The
first is the box's wlan0. The second is somebody else's: it lives in a network namespace of its own
inside the box's kernel, and there a phone (wpa_supplicant, udhcpc, wget) meets the box's access
point, or a house's access point (hostapd, udhcpd) has the box as its client. What the box runs is
what it runs on a Pi, but for the radio's driver and its firmware.
"""

import re
import sys
import time

from box import Box, Failed, expect, new_card, read_fat, shown, write_fat

POINT = """[wifi]
mode = "access-point"
country = "DE"
ssid = "Kaffeeklatsch ☕"
key = "Bohnen und Rahm"
"""
CLIENT = """[wifi]
mode = "client"
country = "DE"
ssid = "Haus am See"
key = "Schilf und Wasser"
"""
# Radio and namespace of somebody else, entered by `there`.
OTHER = r"""
modprobe mac80211_hwsim radios=2
until [ -e /sys/class/net/wlan1 ]; do sleep 0.2; done
unshare --net --mount sleep 100000 & echo $! >/run/there.pid
sleep 1
iw phy "$(cat /sys/class/net/wlan1/phy80211/name)" set netns "$(cat /run/there.pid)"
cat >/run/there <<'END'
#!/bin/sh
exec nsenter -t "$(cat /run/there.pid)" -n -m "$@"
END
chmod 755 /run/there
mkdir -p /run/other
/run/there sh -c 'ip link set lo up; mount -t tmpfs tmp /tmp; until [ -e /proc/self/net/wireless ] || ip link show wlan1; do sleep 0.2; done' >/dev/null
"""
PHONE = r"""
hexed=$(printf %s '{ssid}' | od -An -tx1 | tr -d ' \n')
printf 'country=DE\nnetwork={{\n ssid=%s\n scan_ssid=1\n key_mgmt=WPA-PSK\n psk="%s"\n}}\n' "$hexed" '{key}' >/run/other/{file}
/run/there wpa_supplicant -B -i wlan1 -D nl80211 -P /run/other/wpa.pid -c /run/other/{file} -f /run/other/wpa.log
"""
LEASE = r"""
cat >/run/other/udhcpc <<'END'
#!/bin/sh
[ "$1" = bound ] || [ "$1" = deconfig ] || exit 0
ip addr flush dev wlan1
ip link set wlan1 up
[ "$1" = deconfig ] || { ip addr add "$ip/$subnet" dev wlan1; set >/run/other/lease; }
END
chmod 755 /run/other/udhcpc
/run/there udhcpc -i wlan1 -n -q -t 20 -s /run/other/udhcpc
cat /run/other/lease
"""
HOUSE = r"""
cat >/run/other/hostapd.conf <<'END'
interface=wlan1
driver=nl80211
country_code=DE
hw_mode=g
channel=11
ssid=Haus am See
wpa=2
wpa_key_mgmt=WPA-PSK
rsn_pairwise=CCMP
wpa_passphrase=Schilf und Wasser
END
/run/there hostapd -B -P /run/other/hostapd.pid -f /run/other/hostapd.log /run/other/hostapd.conf
/run/there ip addr add 10.77.0.1/24 dev wlan1
printf 'start 10.77.0.20\nend 10.77.0.40\ninterface wlan1\noption subnet 255.255.255.0\nlease_file /run/other/leases\npidfile /run/other/udhcpd.pid\n' >/run/other/udhcpd.conf
touch /run/other/leases
/run/there udhcpd /run/other/udhcpd.conf
"""


def report(box, words):
    box.line.wait(r"what became of klatsch\.toml", 420)
    said = box.line.wait(r"Nothing was refused", 60)
    for word in words:
        expect(word in said, f"the serial line says: {word}")
    box.answers()
    print(f"from power to chat: {box.age():.0f} s", flush=True)


def until(box, command, seconds, what):
    try:
        said = box.shell(f"n=0; until {command}; do n=$((n + 1)); [ $n -lt {seconds} ] || exit 1; sleep 1; done",
                         seconds * 4 + 60)
    except Failed:
        raise Failed(what + "\n" + box.shell("journalctl -b --no-pager -o cat -u 'klatsch-wifi*' -u systemd-networkd "
                                             "| tail -n 40; cat /run/other/*.log | tail -n 20; true")) from None
    expect(True, what)
    return said


def point(box):
    print("= the box as access point", flush=True)
    report(box, ("wifi.country: applied (DE)", "wifi.key: applied, kept on the box and taken out of the file"))
    box.shell("(" + OTHER + ")", 120)
    until(box, "iw dev wlan0 info | grep -q 'type AP'", 60, "hostapd opened wlan0 as an access point")
    until(box, "iw dev wlan0 info | grep -q 'channel 6 '", 60, "on channel 6")
    until(box, "iw reg get | grep -q 'country DE'", 60, "with German rules")
    until(box, "ip -4 addr show dev wlan0 | grep -q 192.168.84.1/24", 60, "networkd gave it its address")
    box.shell(PHONE.format(ssid="Kaffeeklatsch ☕", key="falscher Key", file="wrong.conf"))
    time.sleep(20)
    said = box.shell("/run/there iw dev wlan1 link; cat /run/other/wpa.log; kill $(cat /run/other/wpa.pid)")
    expect("WRONG_KEY" in said and "CTRL-EVENT-CONNECTED" not in said, "a phone with a wrong key does not get in")
    box.shell("rm -f /run/other/wpa.log; sleep 2; true")
    box.shell(PHONE.format(ssid="Kaffeeklatsch ☕", key="Bohnen und Rahm", file="right.conf"))
    until(box, "grep -q CTRL-EVENT-CONNECTED /run/other/wpa.log", 60, "a phone with the card's key gets in")
    lease = box.shell("(" + LEASE + ")", 120)
    address = re.search(r"(?m)^ip='?([0-9.]+)", lease)
    expect(address and address.group(1).startswith("192.168.84.") and address.group(1) != "192.168.84.1",
           f"networkd's DHCP server gives it {address.group(1) if address else lease}")
    expect("router=" not in lease, "and no way to anywhere else")
    said = box.shell("/run/there nslookup captive.apple.com 192.168.84.1")
    expect(said.count("192.168.84.1") >= 2, "the name by which an iPhone looks for an Internet is here")
    said = box.shell("/run/there sh -c 'echo nameserver 192.168.84.1 >/run/other/resolv && "
                     "mount --bind /run/other/resolv /run/systemd/resolve/stub-resolv.conf'; "
                     "/run/there wget -q -O - http://captive.apple.com/hotspot-detect.html | gunzip -c", 60)
    expect("klatsch" in said.lower() and "Success" not in said, "and shows the box's page instead of Apple's word: "
           + said.split("\n")[0][:60])
    said = box.shell("/run/there wget -q -O - http://klatsch.box/ | gunzip -c")
    expect("klatsch" in said.lower(), "http://klatsch.box/ answers")
    expect(box.shell("stat -c '%a %U' /run/klatsch-box/hostapd.conf") == "600 root", "the key is for root's eyes alone")
    box.shell("sync")


def client(box):
    print("= the box as a client", flush=True)
    report(box, ("wifi.mode: applied (client)", "wifi.key: applied, kept on the box and taken out of the file"))
    box.shell("(" + OTHER + ")", 120)
    box.shell("(" + HOUSE + ")", 60)
    until(box, "iw dev wlan0 link | grep -q 'Connected to'", 90, "wpa_supplicant joined the house's network with wlan0")
    until(box, "ip -4 addr show dev wlan0 | grep -q 'inet 10.77.0.'", 90, "networkd took the address that its DHCP server gave")
    until(box, "klatsch status | grep -q '10.77.0.'", 60, "and the chat listens there")
    box.shell("sync")


def main(name):
    with shown(name, "radio", "Wi-Fi by make-believe radios") as (card, boxes):
        new_card(name, card)
        for text, act in ((POINT, point), (CLIENT, client)):
            write_fat(card, "klatsch.toml", text)
            box = Box(name, card)
            boxes.append(box)
            act(box)
            box.free()
            left = read_fat(card, "klatsch.toml")
            key = re.search(r'key = "(.*)"', text).group(1)
            expect(key not in left and "(kept on the box)" in left, "the key is gone from the card")


if __name__ == "__main__":
    main(sys.argv[1])
