"""Draws docs/scale.svg from target/scale.csv, which `cargo bench --bench scale` writes.
Wants matplotlib (PyPI)."""

import csv
import pathlib

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

matplotlib.rcParams.update({"svg.hashsalt": "klatsch", "font.size": 9})
ROOT = pathlib.Path(__file__).resolve().parents[1]
HOW = {
    "plain": ("SLCP's plain rule", "tab:red", ":"),
    "klatsch": ("klatsch (the node itself)", "tab:blue", "-"),
    "model": ("klatsch (model)", "tab:cyan", "--"),
    "link": ("link, handshakes and all", "tab:green", "-."),
    "beacons": ("link, its beacons", "tab:olive", "-"),
}
WHAT = [
    ("start_n", "all start at once: datagrams in 10 s"),
    ("minute_n", "steady: datagrams in a minute"),
    ("join_n", "one joins: datagrams in 5 s"),
    ("leave_n", "one leaves: datagrams in 5 s"),
    ("who_n", "one foreign WHO: datagrams in 5 s"),
    ("start_b", "all start at once: bytes in 10 s"),
]

rows = list(csv.DictReader((ROOT / "target/scale.csv").open()))
figure, axes = plt.subplots(3, 2, figsize=(9, 10.5), sharex=True)
for (column, title), ax in zip(WHAT, axes.flat):
    for how, (label, colour, line) in HOW.items():
        points = [(int(r["nodes"]), int(r[column])) for r in rows if r["how"] == how]
        points = [(n, y) for n, y in points if y > 0]
        if points:
            ax.plot(*zip(*points), line, color=colour, marker="o", markersize=3, label=label)
    ax.set(xscale="log", yscale="log", title=title)
    ax.grid(True, which="major", alpha=0.3)
axes[0][0].legend(fontsize=8)
for ax in axes[2]:
    ax.set_xlabel("nodes")
figure.tight_layout()
figure.savefig(ROOT / "docs/scale.svg", metadata={"Date": None})
