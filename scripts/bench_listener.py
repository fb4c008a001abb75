"""Creates users on a running Keycloak, in turns in realms with and without the listener, and compares the rates.

Started by bench-listener, which also starts Keycloak. Standard library only.

    bench_listener.py receive FILE              serves the receivers' port and writes it, and a port that nobody
                                                listens on, into FILE
    bench_listener.py measure KEYCLOAK RECEIVER measures
"""

import collections
import http.client
import json
import os
import re
import socket
import statistics
import sys
import threading
import time
import urllib.parse
import urllib.request

ROUNDS = int(os.environ.get("ROUNDS", "21"))
USERS = int(os.environ.get("USERS", "200"))
CLIENTS = int(os.environ.get("CLIENTS", "8"))
RECEIVERS = ("answers", "slow", "refuses")
WARM = 3
SLOW = 0.2


def receive(file):
    """Answers 202, on /slow after a while, and tells on GET how many events came."""
    events = collections.Counter()

    def serve(connection):
        # As little work as can be: the receiver shares the machine with Keycloak.
        data = b""
        while True:
            while (end := data.find(b"\r\n\r\n")) < 0:
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            head, data = data[:end], data[end + 4:]
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            while length and len(data) < int(length[1]):
                data += connection.recv(65536)
            body, data = (data[:int(length[1])], data[int(length[1]):]) if length else (b"", data)
            method, path = head.split(b" ", 2)[:2]
            if method == b"GET":
                told = json.dumps(events).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(told) + told)
                continue
            events[path.decode()] += body.count(b'"kind":')
            if path == b"/slow":
                time.sleep(SLOW)
            connection.sendall(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")

    server = socket.create_server(("127.0.0.1", 0))
    # Bound but never listened on, so that nobody else takes it and connections are refused.
    refuses = socket.socket()
    refuses.bind(("127.0.0.1", 0))
    with open(file, "w", encoding="ascii") as out:
        out.write(f"{server.getsockname()[1]} {refuses.getsockname()[1]}\n")
    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


class Keycloak:
    """The Admin API."""

    def __init__(self, base):
        self.base = base
        self.host = urllib.parse.urlsplit(base).netloc
        self.local = threading.local()
        self.token = None

    def sign_in(self):
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin"}
        url = f"{self.base}/realms/master/protocol/openid-connect/token"
        with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode()) as answer:
            self.token = json.load(answer)["access_token"]

    def call(self, connection, method, path, body, wanted):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request(method, f"/admin/realms{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != wanted:
            raise SystemExit(f"{method} {path} answered {answer.status}: {text.decode()}")

    def make_realm(self, name):
        connection = http.client.HTTPConnection(self.host)
        listeners = ["jboss-logging"] if name.startswith("off-") else ["jboss-logging", "usersync"]
        realm = {"realm": name, "enabled": True, "eventsListeners": listeners}
        self.call(connection, "POST", "", realm, 201)

    def make_users(self, realm, prefix, count):
        """Users per second."""
        ready = threading.Barrier(CLIENTS + 1)
        faults = []

        def work(client):
            connection = http.client.HTTPConnection(self.host)
            connection.connect()
            ready.wait()
            try:
                for number in range(client, count, CLIENTS):
                    name = f"{prefix}-{number}"
                    user = {"username": name, "enabled": True, "email": f"{name}@example.org",
                            "firstName": "Ada", "lastName": "Example"}
                    self.call(connection, "POST", f"/{realm}/users", user, 201)
            except BaseException as fault:  # told by the thread that waits
                faults.append(fault)

        threads = [threading.Thread(target=work, args=(client,)) for client in range(CLIENTS)]
        for thread in threads:
            thread.start()
        ready.wait()
        began = time.monotonic()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
        if faults:
            raise SystemExit(f"{realm}: {faults[0]}")
        return count / took


def received(receiver):
    with urllib.request.urlopen(receiver) as answer:
        return json.load(answer)


def measure(base, receiver):
    keycloak = Keycloak(base)
    keycloak.sign_in()
    # Each has one without the listener beside it, so that both always hold as many users.
    for realm in RECEIVERS:
        keycloak.make_realm(realm)
        keycloak.make_realm(f"off-{realm}")

    rates = {realm: [] for realm in RECEIVERS}
    for number in range(WARM + ROUNDS):
        for realm in RECEIVERS:
            keycloak.sign_in()
            sides = [realm, f"off-{realm}"]
            # Who is first changes, as the second finds a warmer server.
            if number % 2:
                sides.reverse()
            rate = {side: keycloak.make_users(side, f"r{number}", USERS) for side in sides}
            if number >= WARM:
                rates[realm].append((rate[realm], rate[f"off-{realm}"]))

    made = (WARM + ROUNDS) * USERS
    for _ in range(60):
        came = received(receiver)
        if min(came.get("/answers", 0), came.get("/slow", 0)) >= made:
            break
        time.sleep(0.5)
    else:
        raise SystemExit(f"of {made} users made in each realm, events came: {came}")

    for realm, pairs in rates.items():
        ratios = [on / off for on, off in pairs]
        low, _, high = statistics.quantiles(ratios, n=4)
        on, off = (statistics.median(side) for side in zip(*pairs))
        print(f"listener_overhead_{realm}: {len(pairs)} pairs of {USERS} users by {CLIENTS} clients; "
              f"on {on:.1f}/s, off {off:.1f}/s; ratios {low:.3f} to {high:.3f} (quartiles)")
        print(f"ratio listener_overhead_{realm} {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    {"receive": receive, "measure": measure}[sys.argv[1]](*sys.argv[2:])
