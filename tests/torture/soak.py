#!/usr/bin/env python3
"""A soak: boxes that chat over the link while everything happens to them that may, all at once.

    KLATSCH=target/release/klatsch tests/torture/soak.py SECONDS [SEED]

Kills, cables pulled, addresses changed, a full disk, clocks of two boxes that jump by years
(libfaketime, where it is installed), a limit of memory that is met (a cgroup, where there are some)
and of descriptors, junk at every port of one box or of all at 100 Mbit/s: each over and over, beside
all others. All the while WHO is asked of everyone who runs, and must be answered within a second.
Afterwards nothing that a Send was answered for may be lost or doubled, and memory and descriptors
must be back where they were.

A bare peer is asked beside each WHO (asker.py): what it lacked of a processor is no box's fault.
Where that is so of many WHO, all else holds, but nobody can tell: the status is 75 then."""

import collections
import concurrent.futures
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

from lab import Lab, Refused, wait

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 180
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
ANNA, BOB, CARL, DORA, ATTACKER, BARE = range(6)
EVERYBODY = -1
NAMES = ["anna", "bob", "carl", "dora"]
CLOCKS = ["anna", "bob"]  # of who runs on, and of who is killed; each for itself
PAUSE = (2, 8)  # seconds between two of one act
JUNK_S = 5
LAST_S = 7  # before the end no act begins any more: most last so long
PERIOD = 0.2  # seconds between two texts of one box
PORTS = [4000, 5000, 5009, 5010, 5011, 5110, 6000, 8484, 9000, 9876]
FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
GROUPS = pathlib.Path("/sys/fs/cgroup")
GROUP_MB = 6  # some 2.5 of it are her heap and what the kernel keeps: the rest is cache, and has to give way
WARM = 400  # texts of each box before: more events than are kept
# her disk is to be full now and then, not of her own texts, the junk's among them
DISK_MB = 40 + max(0, int(SECONDS) - 180) // 10
SAFE_KB = 512  # what memory may have grown by
BACK_S = 120  # … after so long: a heap is looked through at most every 10 s, in a quiet moment
LATE = 1  # seconds
UNTOLD = 0.05  # of all WHO: when more were late for want of a processor, the run tells nothing
TOO_BUSY = 75  # EX_TEMPFAIL
STOPPED = 3  # seconds that a box, then the bare peer too, is stopped to see that it is noticed
ASKER = pathlib.Path(__file__).with_name("asker.py")


class Group:
    """A limit of memory, by the machine's control groups of either version. What is cached of files
    counts, and so does what the kernel keeps for the process."""

    def __init__(self, path, limit, met):
        self.path, self.met = path, met
        path.mkdir()
        try:
            (path / limit).write_text(f"{GROUP_MB}M")
        except OSError:
            path.rmdir()
            raise

    @classmethod
    def new(cls, name):
        """None where there are no control groups to be had."""
        try:
            return cls.of_either_version(name)
        except OSError:
            return None  # not ours to make, as in a container

    @classmethod
    def of_either_version(cls, name):
        if (GROUPS / "memory/memory.limit_in_bytes").exists():
            return cls(GROUPS / "memory" / name, "memory.limit_in_bytes", lambda path:
                       int((path / "memory.failcnt").read_text()))
        controllers = GROUPS / "cgroup.controllers"
        if not controllers.exists() or "memory" not in controllers.read_text().split():
            return None
        (GROUPS / "cgroup.subtree_control").write_text("+memory")
        return cls(GROUPS / name, "memory.max", lambda path:
                   int(dict(line.split() for line in (path / "memory.events").open())["max"]))

    def times(self):
        """How often it was met."""
        return self.met(self.path)


class Soak:
    def __init__(self, lab):
        self.lab = lab
        self.carl = lab.ip(CARL)
        self.junked = []  # boxes that are to have junk before any has it again
        self.over = threading.Event()
        self.boxes = {}
        self.busy = {}  # since when something is done to them that stops them from answering
        self.excused = []  # name, from, to: when it was
        self.answered = {}  # by sender: texts
        self.bare, self.askers = None, []
        self.done = {}
        self.group = Group.new(lab.name)

    # --- traffic -------------------------------------------------------------------------------

    def talk(self, name):
        """One box's texts to the others. What was answered is to be kept, whatever happens."""
        rng, n = random.Random(f"{SEED}{name}"), 0
        kept = self.answered.setdefault(name, [])
        while not self.over.wait(PERIOD):
            to = rng.choice([other for other in NAMES if other != name])
            n += 1
            text = f"<{name}>{to}-{n}>"
            try:
                said = self.boxes[name].call("Send", timeout=10, to=[to], text=text)
                kept.append((to, text, said["receipts"][0]["state"]))
            except (OSError, EOFError, ValueError, Refused):
                pass  # not answered: not promised

    # --- WHO -----------------------------------------------------------------------------------

    def excuse(self, name):
        self.busy[name] = time.monotonic()

    def expect(self, name):
        self.excused.append((name, self.busy.pop(name), time.monotonic()))

    def ask(self):
        """Each box, and the bare peer beside it."""
        with open(self.lab.place / "bare.err", "wb") as err:
            self.bare = self.lab.inside(BARE, sys.executable, ASKER, stderr=err)
        self.askers = []
        for name, box in self.boxes.items():
            with open(self.lab.place / f"{name}.who", "wb") as out:
                self.askers.append(self.lab.inside(
                    BARE, sys.executable, ASKER, box.home / "run/klatsch/control", stdout=out))

    def heard(self, name):
        """What its asker wrote."""
        lines = (self.lab.place / f"{name}.who").read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def unexcused(self, name):
        return [who for who in self.heard(name) if not any(
            name == other and who["begun"] < end and who["begun"] + who["took"] > begun
            for other, begun, end in self.excused)]

    def proof(self):
        """A box that is stopped is late; a box and the bare peer stopped together are not."""
        anna = self.boxes["anna"]
        wait("each asker asks", lambda: all(self.heard(name) for name in NAMES))
        seen = []
        for processes in ([anna.process], [anna.process, self.bare]):
            time.sleep(1)
            self.excuse("anna")
            for process in processes:
                process.send_signal(signal.SIGSTOP)
            time.sleep(STOPPED)
            for process in processes:
                process.send_signal(signal.SIGCONT)
            asked = len(self.heard("anna"))
            wait("Anna answers again", lambda: len(self.heard("anna")) > asked + 1)
            self.expect("anna")
            _, begun, end = self.excused[-1]
            slowest = max((w for w in self.heard("anna") if begun < w["begun"] + w["took"] < end),
                          key=lambda w: w["took"], default={"took": 0, "machine": 0})
            seen.append((slowest["took"], slowest["machine"]))
        print("a box stopped, then the bare peer with it: "
              + ", ".join(f"{took:.2f} s of which {machine:.2f} the machine's" for took, machine in seen))
        alone, both = seen
        assert alone[0] > LATE and both[0] > LATE, "a stopped box went unnoticed"
        assert both[0] - both[1] <= LATE, "a stopped machine passes for a late box"
        return alone[0] - alone[1] > LATE

    def judged(self):
        """Who was late, and whether that can be told at all."""
        asked, late, untold, slowest, own = 0, [], 0, 0.0, 0.0
        for name in NAMES:
            for who in self.unexcused(name):
                asked += 1
                mine = who["took"] - who["machine"]
                slowest, own = max(slowest, who["took"]), max(own, mine)
                if who["error"] is None and who["took"] <= LATE:
                    continue
                slow = who["error"] is None or who["error"].startswith("TimeoutError")
                if slow and mine <= LATE:
                    untold += 1
                    continue
                late.append(f"{name}: {who['took']:.2f} s, of which the machine's "
                            f"{who['machine']:.2f}, {who['error'] or 'answered'}")
        print(f"WHO: {asked} asked, the slowest {slowest * 1000:.0f} ms; {len(late)} late, "
              f"{untold} for want of a processor; without that the slowest took {own * 1000:.0f} ms")
        return late, untold <= UNTOLD * asked

    # --- what happens --------------------------------------------------------------------------

    def over_and_over(self, act):
        """Beside all other acts. Each has its own chance, so that a seed says what it does."""
        rng = random.Random(f"{SEED}{act.__name__}")
        while not self.over.wait(rng.uniform(*PAUSE)):
            act(rng)
            self.done[act.__name__] = self.done.get(act.__name__, 0) + 1

    def kill(self, rng):
        name = rng.choice(["bob", "carl"])
        self.excuse(name)
        self.boxes[name].kill()
        time.sleep(rng.uniform(0, 3))
        self.boxes[name].start()
        self.expect(name)

    def flap(self, rng):
        n = rng.choice([BOB, CARL, DORA])
        for _ in range(rng.randrange(1, 4)):
            self.lab.batch(self.lab.bridge(), [f"link set p{n} down"])
            time.sleep(rng.uniform(0.2, 3))
            self.lab.batch(self.lab.bridge(), [f"link set p{n} up"])
            time.sleep(rng.uniform(0.2, 1))

    def move(self, rng):
        new = f"10.79.{rng.randrange(10, 200)}.{rng.randrange(1, 250)}"
        self.lab.batch(self.lab.space(CARL), [
            "addr flush dev eth0 scope global",
            f"addr add {new}/16 broadcast 10.79.255.255 dev eth0"])
        self.carl = new

    def fill(self, rng):
        big = self.boxes["dora"].home / "big"
        try:
            with open(big, "wb") as file:
                while True:
                    file.write(bytes(65536))
                    file.flush()
        except OSError:
            pass  # full: it may have been before
        time.sleep(rng.uniform(2, 6))
        big.unlink(missing_ok=True)

    def clock(self, rng):
        days = rng.choice([-20_000, -4_000, -1, 1, 4_000, 20_000])
        name = rng.choice(CLOCKS)
        new = self.lab.place / f"{name}.clock.new"
        new.write_text(f"{days:+}d")
        new.rename(self.lab.place / f"{name}.clock")

    def connections(self, rng):
        """More than Dora has descriptors for."""
        def connect():
            all_of_them = []
            for n in range(200):
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex((self.lab.ip(DORA), PORTS[n % len(PORTS)]))
                all_of_them.append(s)
            return all_of_them
        all_of_them = self.lab.within(ATTACKER, connect)
        time.sleep(rng.uniform(2, 5))
        for s in all_of_them:
            s.close()

    def flood(self, rng):
        """100 Mbit/s at one box, all its ports at once, by UDP, and junk on TCP streams; in its turn
        at the broadcast address, which is 100 Mbit/s for every box at once."""
        self.junked = self.junked or rng.sample([*range(4), EVERYBODY], 5)
        n = self.junked.pop()

        def address():
            if n == EVERYBODY:
                return "10.79.255.255"
            return self.carl if n == CARL else self.lab.ip(n)

        def sockets():
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            streams = []
            for port in PORTS if n != EVERYBODY else []:
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex((address(), port))
                streams.append(s)
            return udp, streams
        udp, streams = self.lab.within(ATTACKER, sockets)
        junk = [rng.randbytes(1_400) for _ in range(8)]
        junk += [w + b" x" * 600 for w in (b"JOIN", b"KNOWUSERS", b"MSG", b"{\"command\":", b"KLATSCH\x01")]
        begun, sent = time.monotonic(), 0
        while (took := time.monotonic() - begun) < JUNK_S:
            if sent > took * 100e6 / 8:
                time.sleep(0.001)
                continue
            for port in PORTS:
                data = rng.choice(junk)
                try:
                    sent += udp.sendto(data, (address(), port)) + 28
                except OSError:
                    time.sleep(0.001)  # his cable is out
            for s in streams[sent % 7::7]:
                try:
                    s.send(rng.choice(junk))
                except OSError:
                    pass
        for s in streams:
            s.close()
        udp.close()
        self.done["megabytes of junk"] = self.done.get("megabytes of junk", 0) + sent // 1_000_000
        self.done["seconds of it"] = round(self.done.get("seconds of it", 0) + took)

    # --- the run -------------------------------------------------------------------------------

    def start(self):
        for n, name in enumerate(NAMES):
            before, outside, home = [], [], self.lab.place / name
            if name in CLOCKS and FAKETIME:
                (self.lab.place / f"{name}.clock").write_text("+0d")
                before = ["env", f"LD_PRELOAD={FAKETIME}", "FAKETIME_NO_CACHE=1",
                          "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_RESET=1",
                          f"FAKETIME_TIMESTAMP_FILE={self.lab.place}/{name}.clock"]
            if name == "dora":
                self.disk(home)
                before = ["prlimit", "--nofile=96"]
                if self.group:
                    outside = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', self.group.path / "cgroup.procs"]
            # an hour's texts all stay, so that each can be asked for at the end
            more = ("[slcp]\nannounce = 10\n[link]\nannounce = 10\n"
                    "[history]\nentries = 1000000\nbytes = \"1G\"\n")
            self.boxes[name] = self.lab.daemon(n, name, more=more, before=before,
                                               outside=outside, home=home)

    def disk(self, home):
        """Of her own, and no tmpfs, whose files would count as memory that cannot be given back."""
        image = self.lab.place / "disk"
        with open(image, "wb") as file:
            file.truncate(DISK_MB << 20)
        home.mkdir()
        subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-m", "0", image], check=True)
        if subprocess.run(["mount", "-o", "loop", image, home]).returncode != 0:
            # a container without loop devices: all else can be held to
            image.unlink()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}M", "tmpfs", home], check=True)
            if self.group:
                self.group.path.rmdir()
                self.group = None

    def linked(self, box):
        peers = box.call("Who")["peers"]
        return sum("link" in p["dialect"] and p["presence"] != "gone" for p in peers) == len(NAMES) - 1

    def texts(self, box):
        """All entries with a text of ours."""
        found, before = [], None
        while True:
            page = box.call("History", limit=200, **({"before": before} if before else {}))
            mine = [e for e in page["entries"] if e["body"].get("text", "").startswith("<")]
            found += mine
            if not page["more"]:
                return found
            before = min(e["order"] for e in page["entries"])

    def tell(self):
        """What still waits, and where: for whoever reads why it failed."""
        for name, box in self.boxes.items():
            try:
                status, out = box.call("Status"), self.texts(box)
                queued = [(e["order"], r) for e in out for r in e["recipients"]
                          if e["direction"] == "out" and r["state"] == "queued"]
                print(f"{name}: {status}, {box.descriptors()} descriptors, "
                      f"{len(queued)} queued, such as {queued[:2]}", flush=True)
                for peer in box.call("Who")["peers"]:
                    print(f"  {peer}", flush=True)
            except (OSError, EOFError, ValueError, Refused) as error:
                print(f"{name}: {error!r}", flush=True)

    def settled(self):
        for name, box in self.boxes.items():
            status = box.call("Status")
            if status.get("queued") or status.get("outbox"):
                return False
            out = [e for e in self.texts(box) if e["direction"] == "out"]
            if any(r["state"] == "queued" for e in out for r in e["recipients"]):
                return False
        return True


def main():
    print(f"{SECONDS:.0f} s, seed {SEED}, clocks {'jump' if FAKETIME else 'stay: no libfaketime'}", flush=True)
    with Lab(6) as lab:
        soak = Soak(lab)
        try:
            return run(soak)
        except BaseException:
            for name in NAMES:
                log = (lab.place / f"{name}.log").read_text(errors="replace").splitlines()
                print(f"--- {name}, its last lines:", *log[-12:], sep="\n")
            raise
        finally:
            for process in [soak.bare, *soak.askers] if soak.askers else []:
                process.kill()
            for box in soak.boxes.values():
                box.kill()
            subprocess.run(["umount", lab.place / "dora"], capture_output=True)
            if soak.group:
                wait("her group is empty", lambda: not (soak.group.path / "cgroup.procs").read_text(), 10)
                soak.group.path.rmdir()


def warm(soak):
    """Idle is measured with all tables of a fixed size in use: the ring of events, SQLite's
    pages; and after the same texts at the beginning and at the end."""
    def talk(name):
        for n in range(WARM):
            other = NAMES[(NAMES.index(name) + 1 + n % 3) % 4]
            soak.boxes[name].call("Send", to=[other], text=f"warm {n}")
    threads = [threading.Thread(target=talk, args=(n,)) for n in NAMES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for box in soak.boxes.values():
        soak.texts(box)  # as is done at the end: what SQLite keeps of its pages is no growth
    time.sleep(15)


def smaps(soak, when):
    """For whoever wants to know what grew: into the folder that SMAPS names."""
    if folder := os.environ.get("SMAPS"):
        for name, box in soak.boxes.items():
            text = pathlib.Path(f"/proc/{box.pid()}/smaps").read_text()
            pathlib.Path(folder, f"{name}.{when}").write_text(text)


def run(soak):
    soak.start()
    for box in soak.boxes.values():
        wait(f"{box.handle} is linked to all", lambda box=box: soak.linked(box), 60)
    warm(soak)
    idle = {n: (b.memory(), b.descriptors()) for n, b in soak.boxes.items()}
    smaps(soak, "before")
    met = soak.group.times() if soak.group else 0
    soak.ask()
    told = soak.proof()
    threads = [threading.Thread(target=soak.talk, args=(n,), daemon=True) for n in NAMES]
    for thread in threads:
        thread.start()
    acts = [soak.kill, soak.flap, soak.move, soak.fill, soak.connections, soak.flood]
    acts += [soak.clock] if FAKETIME else []
    with concurrent.futures.ThreadPoolExecutor(len(acts)) as pool:
        lanes = [pool.submit(soak.over_and_over, act) for act in acts]
        try:
            concurrent.futures.wait(lanes, SECONDS - LAST_S, concurrent.futures.FIRST_EXCEPTION)
        finally:
            soak.over.set()
    for lane in lanes:
        lane.result()
    for thread in threads:
        thread.join(30)
    assert all(p.poll() is None for p in [soak.bare, *soak.askers]), "an asker or the bare peer ended"
    for asker in soak.askers:
        asker.kill()
    print("done:", soak.done)
    dead = [n for n, b in soak.boxes.items() if not b.running()]
    assert not dead, f"not running any more: {dead}; the kernel's log tells whether for want of memory"
    late, tells = soak.judged()
    bad = list(late)
    if soak.group:
        met = soak.group.times() - met
        print(f"Dora met her limit of {GROUP_MB} MB {met} times")
        if not met and SECONDS >= 180:  # what she reads and writes in less may fit
            bad.append("the limit of memory was never met")
    else:
        print("not done: a limit of memory, for here are no control groups, or no loop device")
    if not FAKETIME:
        print("not done: clocks that jump, for here is no libfaketime")
    try:
        healed = wait("what waits has gone", soak.settled, 240, 1)
    except AssertionError:
        soak.tell()
        raise
    print(f"settled {healed:.0f} s after the last")
    disk = os.statvfs(soak.boxes["dora"].home)
    print(f"Dora's disk of {DISK_MB} MB has {disk.f_bavail * disk.f_frsize >> 20} MB left")
    kept = {n: soak.texts(b) for n, b in soak.boxes.items()}
    shown = {n: collections.Counter(e["body"]["text"] for e in entries if e["direction"] == "in")
             for n, entries in kept.items()}
    for name, promised in soak.answered.items():
        mine = {e["body"]["text"]: e for e in kept[name] if e["direction"] == "out"}
        confirmed = plain = failed = unkept = 0
        for to, text, said in promised:
            entry, times = mine.get(text), shown[to][text]
            if entry is None and name == "dora":
                # her disk was full: she said so, and went on without keeping what she says
                unkept += 1
                if times > 1 or (times == 0 and said == "delivered"):
                    bad.append(f"{text} was {said}, and is there {times} times")
                continue
            if entry is None:
                bad.append(f"{name} lost {text}")
                continue
            state = entry["recipients"][0]["state"]
            if times > 1:
                bad.append(f"{to} was shown {text} {times} times")
            if state == "delivered":
                confirmed += 1
                if times != 1:
                    bad.append(f"{text} is delivered, but {to} has it not")
            elif state == "sent":
                plain += 1  # a plain dialect: nothing is promised
            else:
                failed += 1
        print(f"{name}: {len(promised)} answered for, {confirmed} confirmed and there once, "
              f"{plain} by a plain dialect, {failed} said to have failed, {unkept} not kept")
    def grown():
        return {n: b.memory() - idle[n][0] for n, b in soak.boxes.items()}

    warm(soak)  # the ring is full of short texts again, not of the junk's
    print("private dirty, kB more than before, at first:", grown())
    try:
        wait("memory is back", lambda: max(grown().values()) <= SAFE_KB, BACK_S, 1)
    except AssertionError as error:
        bad.append(f"{error}: {grown()}")
    for name, box in soak.boxes.items():
        (memory, descriptors), now = idle[name], (box.memory(), box.descriptors())
        print(f"{name}: private dirty {memory} kB before, {now[0]} kB after; "
              f"descriptors {descriptors} before, {now[1]} after")
        if now[1] > descriptors + 3:
            bad.append(f"{name} holds {now[1]} descriptors")
    smaps(soak, "after")
    assert not bad, f"{len(bad)}: {bad[:10]}"
    if told and tells:
        return 0
    print("all else held, but the machine was too busy to tell a late box from a late machine")
    return TOO_BUSY


sys.exit(main())
