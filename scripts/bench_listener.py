"""Creates users on a running Keycloak, in turns in realms with and without the listener, and compares the rates.

Started by bench-listener, which also starts Keycloak. Standard library only.

    bench_listener.py receive FILE              serves the receivers' port and writes it, and a port that nobody
                                                listens on, into FILE
    bench_listener.py measure KEYCLOAK RECEIVER measures
"""

import collections
import http.client
import http.server
import json
import os
import socket
import statistics
import sys
import threading
import time
import urllib.parse
import urllib.request

ROUNDS = int(os.environ.get("ROUNDS", "11"))
USERS = int(os.environ.get("USERS", "240"))
CLIENTS = int(os.environ.get("CLIENTS", "8"))
REALMS = ("off", "answers", "slow", "refuses")
SLOW = 0.2


def receive(file):
    """Answers 202, on /slow after a while, and tells on GET how many events came."""
    events = collections.Counter()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            events[self.path] += len(body["events"])
            if self.path == "/slow":
                time.sleep(SLOW)
            self.answer(202, b"")

        def do_GET(self):
            self.answer(200, json.dumps(events).encode())

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # Bound but never listened on, so that nobody else takes it and connections are refused.
    refuses = socket.socket()
    refuses.bind(("127.0.0.1", 0))
    with open(file, "w", encoding="ascii") as out:
        out.write(f"{server.server_port} {refuses.getsockname()[1]}\n")
    server.serve_forever()


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
        listeners = ["jboss-logging"] if name == "off" else ["jboss-logging", "usersync"]
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
    for realm in REALMS:
        keycloak.make_realm(realm)
    for number in range(2):
        for realm in REALMS:
            keycloak.sign_in()
            keycloak.make_users(realm, f"warm{number}", USERS)

    # Each with the listener right after one without it.
    rates = {realm: [] for realm in REALMS[1:]}
    for number in range(ROUNDS):
        for realm in REALMS[1:]:
            keycloak.sign_in()
            off = lambda: keycloak.make_users("off", f"r{number}-{realm}", USERS)
            on = lambda: keycloak.make_users(realm, f"r{number}", USERS)
            # Who is first changes, as the second finds a warmer server.
            if number % 2:
                without, with_listener = off(), on()
            else:
                with_listener, without = on(), off()
            rates[realm].append((with_listener, without))

    made = (2 + ROUNDS) * USERS
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
