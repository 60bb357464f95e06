#!/usr/bin/env python3
"""What a forged source draws out of a daemon, port by port: bytes out for each byte in, counted on
the victim's cable as IP packets; and whether anybody honest is displaced meanwhile.

    KLATSCH=target/release/klatsch tests/torture/abuse.py

Each kind of datagram has a victim of its own, an address that never sent anything. It is forged
once, then for some seconds at a hundred a second. Before that JOIN, WHOIS and LEAVE are forged
from ever new addresses, while few are known and each newcomer is welcomed. TCP cannot be forged beyond its SYN; what the
kernel answers to that is counted too, for it is of the kernel."""

import select
import socket
import struct
import time

from lab import Lab, wait

FLOOD_S, RATE = 5, 100
SPRAYED, CREDIT, MINUTE = 200, 4_096, 60  # sources; CREDIT_BYTES in CREDIT_MS
# one answer is longer than the question, for it names who we are or who is here
LONGER = {"SLCP JOIN", "SLCP JOIN, ever new", "SLCP WHOIS", "directory login"}
BOX, FRIEND, ATTACKER, VICTIMS = range(4)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source, to, protocol, body):
    src, dst = socket.inet_aton(source), socket.inet_aton(to)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + src + dst
    return head + body


def udp(source, sport, to, port, data):
    return packet(source, to, 17, struct.pack("!HHHH", sport, port, 8 + len(data), 0) + data)


def syn(source, sport, to, port, n):
    def segment(total):
        return struct.pack("!HHIIBBHHH", sport, port, n, 0, 0x50, 2, 65535, total, 0)
    src, dst = socket.inet_aton(source), socket.inet_aton(to)
    pseudo = src + dst + struct.pack("!BBH", 0, 6, 20)
    return packet(source, to, 6, segment(checksum(pseudo + segment(0))))


def kinds(chat):
    """Name, port, what is said the nth time, and whether it may draw more than it is."""
    beacon = b"KLATSCH\x01" + b"%016d" + b"\x01\0\0\0\0\x13\x91\x01\x04anna"
    return [
        ("SLCP WHO", 4000, lambda n: b"WHO\n", True),
        ("SLCP WHO, JSON", 4000, lambda n: b'["WHO", "x"]', True),
        ("SLCP WHOIS", 4000, lambda n: b"WHOIS box\n", False),
        ("SLCP JOIN", 4000, lambda n: b"JOIN x 5000\n", False),
        ("SLCP JOIN, ever new", 4000, lambda n: b"JOIN x%d %d\n" % (n, 5000 + n), False),
        ("SLCP LEAVE", 4000, lambda n: b"LEAVE x\n", False),
        ("SLCP KNOWUSERS", 4000, lambda n: b"KNOWUSERS x%d 10.79.0.3 %d\n" % (n, 5000 + n), False),
        ("SLCP AWAY", 4000, lambda n: b"AWAY x\n", False),
        ("SLCP junk", 4000, lambda n: bytes(range(128)) * 4, False),
        ("chat MSG", chat, lambda n: b"MSG m hello there, how are you?\n", False),
        ("chat IMG", chat, lambda n: b"IMG i 9\n", False),
        ("chat junk", chat, lambda n: bytes(range(128)) * 4, False),
        ("image port", 6000, lambda n: b"IMG a.png 999", False),
        ("hello hello", 9876, lambda n: b'{"command":"hello","peer_id":"v%d"}' % n, False),
        ("hello junk", 9876, lambda n: bytes(range(128)) * 4, False),
        ("directory login", 5000, lambda n: b'{"type": "login", "username": "v%d"}' % n, False),
        ("directory logout", 5000, lambda n: b'{"type": "logout", "username": "x"}', False),
        ("room request", 9000, lambda n: b"CHAT_REQUEST 45311", False),
        ("room request, box's own", 9001, lambda n: b"CHAT_REQUEST 1", False),
        ("room junk", 9000, lambda n: bytes(range(128)) * 4, False),
        ("link beacon", 5009, lambda n: beacon % n, False),
        ("TCP SYN to the page", 8484, None, None),
        ("TCP SYN to the link", 5009, None, None),
    ]


def main():
    with Lab(4) as lab:
        box = lab.daemon(BOX, "box")
        friend = lab.daemon(FRIEND, "friend")
        wait("they see each other", lambda: box.peers() >= 1 and friend.peers() >= 1)
        chat = 5010
        all_kinds = kinds(chat)
        victims = [f"10.79.9.{n + 1}" for n in range(len(all_kinds))]
        crowds = [f"10.79.10.{n + 1}" for n in range(SPRAYED)]
        lab.batch(lab.space(VICTIMS), [f"addr add {ip}/32 dev eth0" for ip in victims + crowds])
        raw = lab.within(ATTACKER, lambda: socket.socket(
            socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        ear = lab.within(VICTIMS, lambda: socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)))
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 20)
        came = {}
        most_in_second = {}

        def listen(until):
            while time.monotonic() < until:
                if not select.select([ear], [], [], max(0, min(0.02, until - time.monotonic())))[0]:
                    return
                data, who = ear.recvfrom(65536)
                if who[2] == socket.PACKET_OUTGOING or data[12:16] != socket.inet_aton(lab.ip(BOX)):
                    continue
                to = socket.inet_ntoa(data[16:20])
                count, size, largest = came.get(to, (0, 0, 0))
                came[to] = (count + 1, size + len(data), max(largest, len(data) - 28))
                second = int(time.monotonic())
                most_in_second[second] = most_in_second.get(second, 0) + len(data)

        def forge(kind, victim, n):
            _, port, said, _ = kind
            if said is None:
                sent = syn(victim, 30_000 + n % 20_000, lab.ip(BOX), port, n)
            else:
                sent = udp(victim, 5_500 + n % 7 if n else 5_500, lab.ip(BOX), port, said(n))
            raw.sendto(sent, (lab.ip(BOX), 0))
            return len(sent)

        # the victims' kernels must know the box's address first, and it theirs
        for ip in victims:
            quiet = lab.within(VICTIMS, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            quiet.bind((ip, 9))
            quiet.sendto(b"", (lab.ip(BOX), 9))
            quiet.close()
        time.sleep(1)
        listen(time.monotonic() + 0.5)

        def phase(count, pause):
            came.clear()
            told = {ip: 0 for ip in victims}
            for n in range(count):
                for kind, victim in zip(all_kinds, victims):
                    told[victim] += forge(kind, victim, n)
                listen(time.monotonic() + pause)
            end = time.monotonic() + 4
            while time.monotonic() < end:
                listen(end)
            return told, dict(came)

        def spray():
            came.clear()
            told, begun = 0, time.monotonic()
            for n, ip in enumerate(crowds):
                for said in (b"JOIN s%d %d\n" % (n, 6_000 + n), b"WHOIS box\n", b"LEAVE s%d\n" % n):
                    sent = udp(ip, 6_000 + n, lab.ip(BOX), 4000, said)
                    raw.sendto(sent, (lab.ip(BOX), 0))
                    told += len(sent)
                    listen(time.monotonic() + 0.04)
            end = time.monotonic() + 3
            while time.monotonic() < end:
                listen(end)
            count, size = (sum(c[i] for ip, c in came.items() if ip in crowds) for i in (0, 1))
            minutes = int((time.monotonic() - begun) / MINUTE) + 2
            print(f"from {SPRAYED} sources: {told} bytes in, {size} out in {count} datagrams "
                  f"(x{size / told:.2f}); {minutes * CREDIT} may go beyond what came in")
            return size <= told + minutes * CREDIT

        sprayed = spray()
        # as many are known as answers can name
        crowd = lab.within(ATTACKER, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        crowd.bind(("10.79.0.3", 4100))
        for n in range(40):
            crowd.sendto(b"JOIN someone%d %d\n" % (n, 20_000 + n), (lab.ip(BOX), 4000))
            time.sleep(0.01)
        time.sleep(3)
        once = phase(1, 0)
        time.sleep(6)
        most_in_second.clear()
        flood = phase(FLOOD_S * RATE, 1 / RATE)
        print(f"{'forged':22} {'port':>5} | once: in, out, ratio        | "
              f"{FLOOD_S * RATE} in {FLOOD_S} s: in, out, datagrams, ratio")
        bad = [] if sprayed else ["forged from ever new sources, words draw more than they are"]
        for kind, ip in zip(all_kinds, victims):
            name, port, said, more = kind
            (in1, in2), (o1, o2) = (once[0][ip], flood[0][ip]), (
                once[1].get(ip, (0, 0, 0)), flood[1].get(ip, (0, 0, 0)))
            print(f"{name:22} {port:5} | {in1:5} {o1[1]:6} x{o1[1] / in1:<6.2f} ({o1[0]})     | "
                  f"{in2:7} {o2[1]:7} {o2[0]:5} x{o2[1] / in2:.3f}")
            if said is None:
                continue  # the kernel's own
            if more:
                # 12 datagrams of 512 bytes to one host in each 5 s
                windows = (FLOOD_S + 4) // 5 + 1
                if o2[0] > 12 * windows or o2[2] > 512 or o1[0] > 3:
                    bad.append(f"{name}: {o1} {o2}")
            elif o1[1] >= in1 and name not in LONGER or o1[0] > 2:
                bad.append(f"{name}: alone {o1[1]} bytes for {in1}")
            elif o2[1] >= in2 or o2[2] > 512:
                bad.append(f"{name}: {o2[1]} bytes for {in2}")
        second = max(most_in_second.values(), default=0)
        print(f"most in one second, heads and all: {second} bytes")
        if second > 2 * 64 * 1024:  # a second of ours may meet the halves of two of its
            bad.append(f"{second} bytes in one second")
        for other, name in ((box, "friend"), (friend, "box")):
            begun = time.monotonic()
            here = [p["handle"] for p in other.call("Who")["peers"]]
            took = time.monotonic() - begun
            print(f"{other.handle}: WHO names {len(here)} after {took * 1000:.0f} ms")
            if name not in here or took > 1:
                bad.append(f"{name} is not here to {other.handle}, or late: {took}")
        friend.call("Send", to=["box"], text="still there?")
        took = wait("a message comes", lambda: any(
            e["body"].get("text") == "still there?" for e in box.call("History")["entries"]), 5, 0.02)
        print(f"a message afterwards: there after {took * 1000:.0f} ms")
        assert not bad, bad


main()
