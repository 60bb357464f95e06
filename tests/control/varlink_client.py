#!/usr/bin/env python3
"""The control socket, used by a client that is not ours: the PyPI package `varlink`.

usage: varlink_client.py SOCKET

Exits 0 if a running node does what its interface description says.
"""
import sys
import threading

import varlink

CHAT = "org.klatsch.Chat"


def main(path):
    client = varlink.Client.new_with_address("unix:" + path)
    interfaces = list(client.get_interfaces())
    assert CHAT in interfaces, interfaces
    print("interfaces:", interfaces)

    with client.open("org.varlink.service") as service:
        info = service.GetInfo()
        assert info["product"] == "klatsch", info
        text = service.GetInterfaceDescription(CHAT)["description"]
        parsed = varlink.Interface(text)
        assert parsed.name == CHAT
        for method in ("Status", "Who", "Send", "SendFile", "Subscribe"):
            parsed.get_method(method)

    with client.open(CHAT) as chat:
        status = chat.Status()
        assert status["epoch"] and status["users"], status
        print("epoch:", status["epoch"])
        peers = chat.Who(gone=True)["peers"]
        assert isinstance(peers, list)
        print("peers:", [peer["handle"] for peer in peers])

        refused(chat.Send, CHAT + ".NoSuchPeer", ["nobody"], "hello")

        handle = chat.FreeHandle("pyguest")["handle"]
        added = chat.AddUser(handle)["handle"]
        assert added, "no handle"
        chat.RemoveUser(added)
        print("added and removed:", added)

        subscribed(client, chat)
    print("ok")


def refused(method, name, *args):
    try:
        method(*args)
    except varlink.VarlinkError as error:
        assert error.error() == name, error.error()
        print("refused as it should be:", name, error.parameters())
    else:
        raise AssertionError("not refused: " + name)


def subscribed(client, chat):
    """A `more` stream: what one connection causes, the other is told."""
    stands, told = threading.Event(), []

    def listen():
        with client.open(CHAT) as events:
            for reply in events.Subscribe(ready=True, _more=True):
                event = reply["event"]
                told.append(event)
                stands.set()
                if event["kind"] != "ready":
                    return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert stands.wait(30), "the stream does not stand"
    settings = chat.Config()["settings"]
    live = next((s for s in settings if s["key"] == "bell"), None)
    if live is None:
        print("subscribed; no setting to change here, so no event awaited")
        return
    for value in ("on" if live["value"] in ("off", "false") else "off", live["value"]):
        chat.Config("bell", value)
    listener.join(30)
    assert len(told) >= 2, told
    for event in told:
        assert {"epoch", "seq", "at", "kind", "user"} <= event.keys(), event
    print("event:", told[1])


if __name__ == "__main__":
    main(sys.argv[1])
