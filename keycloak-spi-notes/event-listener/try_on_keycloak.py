"""Tries the listener on a running Keycloak: makes changes by its REST API and checks what a receiver gets.

Started by try-on-keycloak.sh, which also starts Keycloak. Standard library only.
"""

import argparse
import base64
import hashlib
import hmac
import html
import http.cookiejar
import http.server
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

PRIVATE = ("@", "127.0.0.1", "representation", "sessionId", "ipAddress", "Secretive")


class Receiver:
    """A hook that verifies every signature and answers as it is told."""

    def __init__(self, port, secrets):
        self.port = port
        self.secrets = secrets
        self.lock = threading.Lock()
        self.attempts = []
        self.taken = []
        self.faults = []
        self.answer = lambda path, events: 202
        self.server = None
        self.connections = []

    def start(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                receiver.connections.append(self.connection)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.receive(self.path, self.headers, body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        http.server.ThreadingHTTPServer.allow_reuse_address = True
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed before
        self.connections.clear()

    def receive(self, path, headers, body):
        events = json.loads(body)["events"]
        with self.lock:
            self.verify(path, headers, body)
            for secret in PRIVATE:
                if secret in body.decode():
                    self.faults.append(f"{secret!r} in a body: {body.decode()}")
            status = self.answer(path, events)
            self.attempts.append((path, headers["webhook-id"], status, len(events)))
            if status == 202:
                self.taken += [(path, event) for event in events]
            return status

    def verify(self, path, headers, body):
        message, second = headers["webhook-id"], headers["webhook-timestamp"]
        wanted = []
        for secret in self.secrets[path]:
            key = base64.b64decode(secret.removeprefix("whsec_"))
            mac = hmac.new(key, f"{message}.{second}.".encode() + body, hashlib.sha256)
            wanted.append("v1," + base64.b64encode(mac.digest()).decode())
        if headers["webhook-signature"].split(" ") != wanted:
            self.faults.append(f"signature of {message} to {path} is {headers['webhook-signature']}")
        if abs(time.time() - int(second)) > 5:
            self.faults.append(f"timestamp of {message} is {second}")

    def clear(self):
        with self.lock:
            self.attempts, self.taken = [], []

    def events(self, path="/hooks/acme"):
        with self.lock:
            return [event for to, event in self.taken if to == path]


class Keycloak:
    """Keycloak's REST API as its administrator, or as a service account."""

    def __init__(self, base, client=None):
        self.base = base
        self.client = client
        self.token, self.until = None, 0

    def bearer(self):
        if time.time() > self.until:
            realm, form = "master", {"grant_type": "password", "client_id": "admin-cli",
                                     "username": "admin", "password": "admin"}
            if self.client:
                realm, form = "acme", {"grant_type": "client_credentials", "client_id": self.client[0],
                                       "client_secret": self.client[1]}
            url = f"{self.base}/realms/{realm}/protocol/openid-connect/token"
            with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode()) as answer:
                self.token = json.load(answer)["access_token"]
            self.until = time.time() + 30
        return self.token

    def call(self, method, path, body=None):
        request = urllib.request.Request(f"{self.base}/admin/realms{path}", method=method, headers={
            "Authorization": f"Bearer {self.bearer()}", "Content-Type": "application/json"})
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data) as answer:
                text = answer.read()
                location = answer.headers.get("Location", "")
                return answer.status, json.loads(text) if text else location.rsplit("/", 1)[-1]
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def do(self, method, path, body=None):
        status, answer = self.call(method, path, body)
        if status >= 300:
            raise SystemExit(f"{method} {path} answered {status}: {answer}")
        return answer


def short(event):
    what = event.get("resourceType", "") + (" " if "resourceType" in event else "")
    what += event.get("operationType") or event.get("type")
    return f"{event['kind']} {what} {event.get('resourcePath', event.get('userId'))}"


class Trial:
    def __init__(self, options):
        self.options = options
        self.full = not options.version.startswith("26.0.")
        with open(options.secret_file) as file:
            self.secrets = file.read().split()
        self.receiver = Receiver(options.receiver_port, {
            "/hooks/acme": self.secrets, "/hooks/team/beta": [options.beta_secret]})
        self.keycloak = Keycloak(options.keycloak)
        self.passed = 0

    def check(self, what, truth, seen=""):
        if not truth:
            raise SystemExit(f"FAILED: {what}\n  {seen}\n  receiver: {self.receiver.attempts[-5:]}")
        self.passed += 1
        print(f"  ok    {what}")

    def settle(self, quiet=0.4, patience=10):
        """Waits until nothing has arrived for a while."""
        end, count, since = time.time() + patience, -1, time.time()
        while time.time() < end:
            now = len(self.receiver.attempts)
            if now != count:
                count, since = now, time.time()
            elif time.time() - since > quiet:
                return
            time.sleep(0.02)

    def expect(self, what, wanted, patience=10, path="/hooks/acme"):
        """Checks that exactly these events arrived, as short() shows them, in any order."""
        end = time.time() + patience
        while time.time() < end and len(self.receiver.events(path)) < len(wanted):
            time.sleep(0.02)
        self.settle()
        seen = sorted(short(event) for event in self.receiver.events(path))
        self.check(what, seen == sorted(wanted),
                   f"wanted {json.dumps(sorted(wanted), indent=2)}\n  seen {json.dumps(seen, indent=2)}")
        events = self.receiver.events(path)
        self.receiver.clear()
        return events

    def log(self):
        with open(self.options.log) as file:
            return file.read()

    def wait_for_log(self, what, text, patience=15):
        end = time.time() + patience
        while time.time() < end and text not in self.log():
            time.sleep(0.05)
        self.check(what, text in self.log())

    def run(self):
        self.receiver.start()
        self.set_up()
        self.people()
        self.groups()
        self.roles()
        self.imports()
        self.organizations()
        self.registration()
        self.own_client()
        self.other_realms()
        self.stored_ids()
        self.refusals()
        self.outage()
        self.gone()
        self.shutdown()
        self.check("every signature, time and body was in order", not self.receiver.faults, self.receiver.faults)
        print(f"{self.passed} checks passed on Keycloak {self.options.version}.")

    def set_up(self):
        print("realms")
        k = self.keycloak
        listening = {"eventsListeners": ["jboss-logging", "usersync"], "adminEventsEnabled": True,
                     "adminEventsDetailsEnabled": True, "eventsEnabled": True, "enabled": True}
        k.do("POST", "", {"realm": "acme", "registrationAllowed": True, "organizationsEnabled": True, **listening})
        k.do("POST", "", {"realm": "nokey", **listening})
        k.do("POST", "", {"realm": "deaf", "enabled": True, "adminEventsEnabled": True})
        k.do("POST", "", {"realm": "beta", **listening})
        self.settle()
        self.receiver.clear()

    def user(self, name, realm="acme", by=None, **more):
        return (by or self.keycloak).do("POST", f"/{realm}/users", {
            "username": name, "email": f"{name}@example.org", "firstName": "Secretive", "enabled": True, **more})

    def default_roles(self, user):
        return [f"model REALM_ROLE_MAPPING CREATE users/{user}/role-mappings/realm"] if self.full else []

    def joined(self, user, group):
        """What tells of a membership that no admin event tells of."""
        where = f"users/{user}/groups/{group}" if self.full else f"groups/{group}/members"
        return f"model GROUP_MEMBERSHIP CREATE {where}"

    def people(self):
        print("people")
        k = self.keycloak
        self.staff = k.do("POST", "/acme/groups", {"name": "staff"})
        self.expect("group create", self.group_created(self.staff, f"groups/{self.staff}"))
        self.alice = self.user("alice", groups=["/staff"])
        events = self.expect("user create with groups: the membership too", [
            f"admin USER CREATE users/{self.alice}", self.joined(self.alice, self.staff),
            *self.default_roles(self.alice)])
        created = next(event for event in events if event["kind"] == "admin")
        self.check("the event names realm, user and login", created["realmName"] == "acme"
                   and created["userId"] == self.alice and created["username"] == "alice", created)
        k.do("PUT", f"/acme/users/{self.alice}", {"username": "alice", "lastName": "Secretive", "enabled": False})
        self.expect("user update", [f"admin USER UPDATE users/{self.alice}"])
        status, _ = k.call("POST", "/acme/users", {"username": "alice", "enabled": True, "groups": ["/staff"]})
        self.check("a second alice is refused", status == 409, status)
        self.expect("a rolled back create sends nothing", [])
        k.do("PUT", f"/acme/users/{self.alice}/reset-password", {"type": "password", "value": "Secretive"})
        self.expect("password reset", [f"admin USER ACTION users/{self.alice}/reset-password"])

    def group_created(self, group, path):
        events = [f"admin GROUP CREATE {path}", *([f"model GROUP UPDATE groups/{group}"] if self.full else [])]
        return events if path == f"groups/{group}" else [*events, f"model GROUP CREATE groups/{group}"]

    def groups(self):
        print("groups")
        k, staff, alice = self.keycloak, self.staff, self.alice
        child = k.do("POST", f"/acme/groups/{staff}/children", {"name": "ops"})["id"]
        events = self.expect("sub-group create", self.group_created(child, f"groups/{staff}/children"))
        self.check("its id is sent", self.admin(events)["resourceId"] == child, events)
        other = k.do("POST", "/acme/groups", {"name": "other"})
        self.expect("another group", self.group_created(other, f"groups/{other}"))
        k.do("POST", f"/acme/groups/{other}/children", {"id": child, "name": "ops"})
        events = self.expect("move below another group", [
            f"admin GROUP UPDATE groups/{other}/children",
            *(f"model GROUP UPDATE groups/{group}" for group in (staff, other, child))])
        self.check("its id is sent", self.admin(events)["resourceId"] == child, events)
        k.do("POST", "/acme/groups", {"id": child, "name": "ops"})
        events = self.expect("move to the top", [
            "admin GROUP UPDATE groups", *(f"model GROUP UPDATE groups/{group}" for group in (other, child))])
        self.check("its id is sent", self.admin(events)["resourceId"] == child, events)
        k.do("PUT", f"/acme/groups/{child}", {"name": "operations"})
        self.expect("rename", [f"admin GROUP UPDATE groups/{child}"])
        k.do("PUT", f"/acme/users/{alice}/groups/{child}")
        events = self.expect("join, once", [f"admin GROUP_MEMBERSHIP CREATE users/{alice}/groups/{child}"])
        self.check("login name and group id are sent", (events[0]["username"], events[0]["groupId"])
                   == ("alice", child), events)
        k.do("DELETE", f"/acme/users/{alice}/groups/{child}")
        self.expect("leave, once", [f"admin GROUP_MEMBERSHIP DELETE users/{alice}/groups/{child}"])
        k.do("POST", f"/acme/groups/{staff}/children", {"name": "deep"})
        self.settle()
        deep = self.admin(self.receiver.events())["resourceId"]
        self.receiver.clear()
        k.do("DELETE", f"/acme/groups/{staff}")
        self.expect("delete of a group with a member and a sub-group: the sub-group too", [
            f"admin GROUP DELETE groups/{staff}", f"model GROUP DELETE groups/{deep}"])
        k.do("PUT", f"/acme/default-groups/{other}")
        self.expect("default group", [f"admin GROUP CREATE default-groups/{other}", f"model GROUP UPDATE groups/{other}"])
        self.default_group = other
        bob = self.user("bob")
        self.expect("a user with a default group: the membership too", [
            f"admin USER CREATE users/{bob}", *self.default_roles(bob), self.joined(bob, other)])
        k.do("DELETE", f"/acme/users/{bob}")
        self.expect("user delete, once", [f"admin USER DELETE users/{bob}"])

    @staticmethod
    def admin(events):
        return next(event for event in events if event["kind"] == "admin")

    def roles(self):
        print("roles")
        k, alice = self.keycloak, self.alice
        k.do("POST", "/acme/roles", {"name": "jira"})
        role = k.do("GET", "/acme/roles/jira")
        self.expect("role create", ["admin REALM_ROLE CREATE roles/jira"])
        k.do("POST", f"/acme/users/{alice}/role-mappings/realm", [role])
        self.expect("role grant, once", [f"admin REALM_ROLE_MAPPING CREATE users/{alice}/role-mappings/realm"])
        k.do("DELETE", f"/acme/users/{alice}/role-mappings/realm", [role])
        self.expect("role revocation, once", [f"admin REALM_ROLE_MAPPING DELETE users/{alice}/role-mappings/realm"])
        k.do("DELETE", "/acme/roles/jira")
        self.expect("role delete", ["admin REALM_ROLE DELETE roles/jira",
                                    f"model REALM_ROLE DELETE roles-by-id/{role['id']}"])

    def people_named(self, *names):
        return {name: self.keycloak.do("GET", f"/acme/users?username={name}&exact=true")[0]["id"] for name in names}

    def imports(self):
        print("partial imports")
        k = self.keycloak
        users = [{"username": name, "enabled": True, "groups": ["/operations"]} for name in ("carol", "dave")]
        k.do("POST", "/acme/partialImport", {"ifResourceExists": "FAIL", "users": users})
        first = self.people_named("carol", "dave")
        group = k.do("GET", "/acme/groups?search=operations")[0]["id"]
        self.expect("partial import", ["model REALM ACTION partialImport", *sorted({
            event for user in first.values() for event in (
                f"admin REALM CREATE users/{user}", self.joined(user, group))})])
        k.do("POST", "/acme/partialImport", {"ifResourceExists": "OVERWRITE", "users": users[:1]})
        second = self.people_named("carol")["carol"]
        self.check("an overwriting import gives a new id", second != first["carol"], second)
        self.expect("overwriting import: the old id is told", [
            "model REALM ACTION partialImport", f"model USER DELETE users/{first['carol']}",
            f"admin REALM UPDATE users/{second}", self.joined(second, group)])
        status, _ = k.call("POST", "/acme/partialImport", {"ifResourceExists": "FAIL", "users": users})
        self.check("a failing import", status == 409, status)
        self.expect("a failing import sends nothing", [])

    def organizations(self):
        print("organisations")
        k = self.keycloak
        org = k.do("POST", "/acme/organizations", {"name": "org1", "alias": "org1",
                                                   "domains": [{"name": "org1.example"}]})
        self.settle()
        self.receiver.clear()
        status, answer = k.call("POST", f"/acme/organizations/{org}/members", self.alice)
        self.check("a member is added", status == 201, answer)
        self.settle()
        seen = self.receiver.events()
        member = next((e for e in seen if e.get("resourcePath") == f"organizations/{org}/members/{self.alice}"), None)
        self.check("the member's id is sent", member and member["userId"] == self.alice, seen)
        self.receiver.clear()
        k.do("DELETE", f"/acme/organizations/{org}/members/{self.alice}")
        self.settle()
        seen = [short(e) for e in self.receiver.events()]
        self.check("the member's leaving is sent, once", seen.count(
            f"admin ORGANIZATION_MEMBERSHIP DELETE organizations/{org}/members/{self.alice}") == 1
            and len([e for e in seen if "ORGANIZATION_MEMBERSHIP" in e]) == 1, seen)
        self.receiver.clear()

    def registration(self):
        print("self-registration")
        base = f"{self.options.keycloak}/realms/acme"
        # Keycloak marks its cookies as secure on localhost, as browsers allow there.
        cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(secure_protocols=("http", "https")))
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
        page = browser.open(f"{base}/protocol/openid-connect/registrations?" + urllib.parse.urlencode({
            "client_id": "account-console", "response_type": "code", "scope": "openid",
            "redirect_uri": f"{base}/account/", "code_challenge_method": "S256",
            "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).decode().rstrip("=")}))
        action = html.unescape(re.search(r'action="([^"]+)"', page.read().decode()).group(1))
        browser.open(action, urllib.parse.urlencode({
            "username": "erin", "email": "erin@example.org", "firstName": "Secretive", "lastName": "Secretive",
            "password": "Secretive1", "password-confirm": "Secretive1"}).encode()).read()
        erin = self.people_named("erin")["erin"]
        events = self.expect("self-registration, without the login that follows", [
            f"user REGISTER {erin}", *self.default_roles(erin), self.joined(erin, self.default_group)])
        register = next(event for event in events if event["kind"] == "user")
        self.check("the login name is sent", register["username"] == "erin", register)

    def own_client(self):
        print("usersync's own client")
        k = self.keycloak
        k.do("POST", "/acme/clients", {"clientId": "usersync", "secret": "own", "serviceAccountsEnabled": True,
                                       "standardFlowEnabled": False, "publicClient": False})
        client = k.do("GET", "/acme/clients?clientId=usersync")[0]["id"]
        account = k.do("GET", f"/acme/clients/{client}/service-account-user")["id"]
        management = k.do("GET", "/acme/clients?clientId=realm-management")[0]["id"]
        role = k.do("GET", f"/acme/clients/{management}/roles/manage-users")
        k.do("POST", f"/acme/users/{account}/role-mappings/clients/{management}", [role])
        self.settle()
        self.receiver.clear()
        frank = self.user("frank", by=Keycloak(self.options.keycloak, ("usersync", "own")))
        # 26.0 does not tell a listener which client calls the admin API.
        self.expect("what it causes is not told, but its own admin events are", [
            f"admin USER CREATE users/{frank}", *([] if self.full else [self.joined(frank, self.default_group)])])

    def other_realms(self):
        print("other realms")
        k = self.keycloak
        self.user("nobody", "nokey")
        self.user("nobody", "deaf")
        self.user("nobody", "beta")
        self.settle()
        self.check("realms without listener, key or address send nothing", not self.receiver.attempts,
                   self.receiver.attempts)
        log = self.log()
        self.check("the log says that a secret is too short",
                   "Key short is not used: a secret has 5 bytes, at least 24 are needed." in log)
        self.check("the log says once that realm nokey has no key", log.count(
            "nothing is sent for realm nokey: no usable key has this realm in its option key-NAME-realms.") == 1)
        self.check("the log says once that realm beta has no address", log.count(
            "nothing is sent for realm beta: the realm attribute usersync.address is not set") == 1)
        self.check("the listener says nothing of realm deaf", "realm deaf" not in log)
        self.attribute("http://127.0.0.1:1/elsewhere")
        self.user("elsewhere", "beta")
        self.wait_for_log("an address that is not allowed gets nothing", "which option key-beta-addresses does not allow")
        self.attribute(f"http://127.0.0.1:{self.options.receiver_port}/hooks/team/beta")
        self.settle()
        self.receiver.clear()
        user = self.user("somebody", "beta")
        self.expect("an allowed address gets events", [
            f"admin USER CREATE users/{user}", *self.default_roles(user)], path="/hooks/team/beta")

    def attribute(self, address):
        realm = self.keycloak.do("GET", "/beta")
        realm["attributes"]["usersync.address"] = address
        realm["attributes"]["usersync.key"] = "beta"
        self.keycloak.do("PUT", "/beta", realm)

    def stored_ids(self):
        print("ids")
        user = self.user("grace")
        self.settle()
        sent = self.admin(self.receiver.events())["id"]
        self.receiver.clear()
        stored = self.keycloak.do("GET", f"/acme/admin-events?resourcePath=users/{user}")
        if self.full:
            self.check("the id is the one in Keycloak's store", [event["id"] for event in stored] == [sent], stored)
        else:
            print("  note  this Keycloak does not show the ids of its stored events:", list(stored[0]))

    def refusals(self):
        print("refusals")
        k = self.keycloak
        self.receiver.answer = lambda path, events: 413 if len(events) > 5 else 202
        k.do("POST", "/acme/partialImport", {"ifResourceExists": "FAIL", "users": [
            {"username": f"many{n}", "enabled": True} for n in range(30)]})
        many = k.do("GET", "/acme/users?search=many&max=100")
        self.settle(1)
        sizes = [(status, size) for _, _, status, size in self.receiver.attempts]
        arrived = {event["userId"] for event in self.receiver.events() if event["kind"] == "admin"}
        self.check(f"413: batches are halved until they are taken {sizes[:8]}", sizes[0][0] == 413
                   and arrived == {user["id"] for user in many}, sizes)
        self.receiver.clear()
        poison = many[0]["id"]
        for status, reason in (413, "too large"), (400, "refused them as wrong"), (422, "refused them as wrong"):
            self.receiver.answer = lambda path, events: (
                status if any(event.get("userId") == poison for event in events) else 202)
            k.do("PUT", f"/acme/users/{poison}", {"enabled": True})
            k.do("PUT", f"/acme/users/{self.alice}", {"enabled": True})
            self.expect(f"{status}: one event is dropped, the next one arrives",
                        [f"admin USER UPDATE users/{self.alice}"])
        self.receiver.answer = lambda path, events: 202
        self.wait_for_log("the log counts what was dropped", "usersync: dropped 1 events (1 because the receiver found")

    def outage(self):
        print("an outage")
        k = self.keycloak
        self.receiver.stop()
        started = time.time()
        for n in range(20):
            k.do("PUT", f"/acme/users/{self.alice}", {"enabled": n % 2 == 0})
        self.check(f"requests go on: 20 updates in {time.time() - started:.1f} s", time.time() - started < 5)
        self.wait_for_log("the log says that the receiver does not answer", "does not answer: ConnectException")
        self.receiver.start()
        self.expect("all that waited arrives", [f"admin USER UPDATE users/{self.alice}"] * 20)
        self.receiver.answer = lambda path, events: 503
        k.do("PUT", f"/acme/users/{self.alice}", {"enabled": True})
        end = time.time() + 10
        while len(self.receiver.attempts) < 3 and time.time() < end:
            time.sleep(0.05)
        self.receiver.answer = lambda path, events: 202
        end = time.time() + 10
        while not self.receiver.events() and time.time() < end:
            time.sleep(0.05)
        ids = {message for _, message, _, _ in self.receiver.attempts}
        self.check("the id stays the same over retries", len(ids) == 1 and len(self.receiver.attempts) > 3,
                   self.receiver.attempts)
        self.receiver.clear()

    def gone(self):
        print("410")
        self.receiver.answer = lambda path, events: 410 if "beta" in path else 202
        self.user("henry", "beta")
        self.wait_for_log("the log says that the destination is gone", "answers 410, which means")
        self.receiver.clear()
        self.user("iris", "beta")
        user = self.user("jack")
        self.expect("other destinations go on", [
            f"admin USER CREATE users/{user}", *self.default_roles(user), self.joined(user, self.default_group)])
        self.user("kate", "beta")
        self.settle(1.5)
        self.check("the destination is left alone", not self.receiver.attempts, self.receiver.attempts)

    def shutdown(self):
        print("shutdown")
        self.receiver.answer = lambda path, events: 410 if "beta" in path else 503
        self.keycloak.do("PUT", f"/acme/users/{self.alice}", {"enabled": True})
        self.settle()
        self.receiver.answer = lambda path, events: 410 if "beta" in path else 202
        self.receiver.clear()
        os.kill(self.options.pid, signal.SIGTERM)
        self.expect("what waits is sent at shutdown", [f"admin USER UPDATE users/{self.alice}"])
        self.wait_for_log("what can't be sent is counted", "because Keycloak was stopped)")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", required=True)
    parser.add_argument("--keycloak", required=True)
    parser.add_argument("--receiver-port", type=int, required=True)
    parser.add_argument("--secret-file", required=True)
    parser.add_argument("--beta-secret", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--pid", type=int, required=True)
    Trial(parser.parse_args()).run()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    main()
