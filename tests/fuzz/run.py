"""Fuzzes the API of a server that can reach only loopback, and judges the results.

scripts/fuzz-api starts it in a network namespace, because the fuzzer registers arbitrary URLs.
"""

import argparse
import collections
import fcntl
import json
import math
import os
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

import stock
from processes import ORGANIZATION, TOKEN, Receiver, Server

HERE = pathlib.Path(__file__).parent

LOG = pathlib.Path(".test/fuzz-server.log")

REQUESTS, QUICK_REQUESTS = 10_000, 500
# The user of the bootstrap token.
LOGIN = "admin"

# From linux/if.h and linux/sockios.h.
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
IFREQ = "16sH22x"


def isolate():
    """Checks that no packet can leave the machine, and enables loopback."""
    others = [name for _, name in socket.if_nameindex() if name != "lo" and flags(name) & IFF_UP]
    if others:
        sys.exit(f"this is no network namespace of its own, it has {', '.join(others)}: start scripts/fuzz-api")
    flags("lo", IFF_UP)
    for family, address in ((socket.AF_INET, "203.0.113.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as any_socket:
            # Sends nothing: a datagram socket connects if there is a route.
            if any_socket.connect_ex((address, 9)) == 0:
                sys.exit(f"there is a way to {address} in this network namespace, so nothing is started")


def flags(interface, more=0):
    """Sets the flags `more` of an interface, and returns all its flags."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack(IFREQ, interface.encode(), 0)
        _, found = struct.unpack(IFREQ, fcntl.ioctl(any_socket, SIOCGIFFLAGS, asked))
        if more:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack(IFREQ, interface.encode(), found | more))
        return found | more


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/fuzz-api", description="Fuzz every operation of the OpenAPI document.")
    parser.add_argument("--quick", action="store_true", help="a few requests of each operation, in half a minute")
    parser.add_argument("--requests", type=int, help="fail with fewer than these; 10000, or 500 when it is to be quick")
    parser.add_argument("--seed", type=int, help="make the requests of an earlier run; by chance if absent")
    arguments = parser.parse_args()
    if arguments.requests is None:
        arguments.requests = QUICK_REQUESTS if arguments.quick else REQUESTS
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().getrandbits(32)
    return arguments


def main():
    arguments = parse_arguments()
    isolate()
    with tempfile.TemporaryDirectory(prefix="stackbell-fuzz-") as folder:
        folder = pathlib.Path(folder)
        receiver = Receiver()
        # The fuzzer has one token, and must not be rate limited.
        server = Server(folder, {"STACKBELL_REQUESTS_PER_SECOND": "0"})
        try:
            problems = fuzz(arguments, server, receiver, folder) + end(server, receiver)
        finally:
            server.process.kill()
            receiver.stop()
            shutil.copy(server.log_path, LOG)
    for problem in problems:
        print(f"FAILED: {problem}")
    again = f"--seed {arguments.seed} --requests {arguments.requests}{' --quick' if arguments.quick else ''}"
    print(f"again: scripts/fuzz-api {again}; the server's log is {LOG}")
    sys.exit(1 if problems else 0)


def fuzz(arguments, server, receiver, folder):
    """Runs Schemathesis, and returns the problems."""
    stock.write(stock.fill(server, receiver.url), folder)
    shutil.copy(HERE / "schemathesis.toml", folder)
    [own] = [token["id"] for token in server.call("GET", "/v1/user/tokens") if token["role"] == "admin"]
    document = server.call("GET", "/openapi.json")
    # Schemathesis reads the document from a file; otherwise it would not test the document's own route.
    (folder / "openapi.json").write_text(json.dumps(document))
    operations = sum(len(item) for item in document["paths"].values())
    tally = folder / "tally.json"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent / 'python'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "FUZZ_URL": server.url,
        "FUZZ_RECEIVER_URL": receiver.url,
        "FUZZ_TOKEN": TOKEN,
        "FUZZ_TOKEN_ID": own,
        "FUZZ_LOGIN": LOGIN,
        "FUZZ_TALLY": str(tally),
    }
    command = [str(pathlib.Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml"]
    command += ["run", "openapi.json", "--url", server.url, "--seed", str(arguments.seed), "--no-color"]
    # Operations without parameters get fewer requests, and other phases add some.
    command += ["--max-examples", str(math.ceil(arguments.requests / operations))]
    if arguments.quick:
        command += ["--phases", "examples,fuzzing"]
    began = time.monotonic()
    code = subprocess.run(command, cwd=folder, env=environment).returncode
    problems = [] if code == 0 else [f"schemathesis ended with {code}"]
    # Without a tally, Schemathesis failed before its first request.
    counted = json.loads(tally.read_text()) if tally.exists() else []
    return problems + judge(arguments, counted, operations, time.monotonic() - began)


def judge(arguments, tally, operations, duration):
    """Prints the counts of requests, and returns the problems with them."""
    by_class = collections.Counter()
    reached, done = set(), set()
    for operation, status, count in tally:
        by_class[status // 100] += count
        reached.add(operation)
        if status // 100 == 2:
            done.add(operation)
    requests = by_class.total()
    classes = ", ".join(f"{by_class[first]} {first}xx" for first in range(2, 6))
    print(f"{requests} requests of {len(reached)} operations in {duration:.0f} s: {classes}")
    # A quick run may miss some operations.
    missed = [] if arguments.quick else sorted(reached - done)
    problems = [f"{operation} was never carried out" for operation in missed]
    if len(reached) != operations:
        problems.append(f"{len(reached)} of {operations} operations were asked for")
    if requests < arguments.requests:
        problems.append(f"{requests} requests are fewer than {arguments.requests}")
    if by_class[5]:
        problems.append(f"{by_class[5]} answers were 5xx")
    return problems


def end(server, receiver):
    """Checks that the server still works, stops it, and returns the problems."""
    try:
        check_health(server, receiver)
        server.stop()
    except (AssertionError, OSError) as error:
        return [f"afterwards: {error}"]
    return []


def check_health(server, receiver):
    """Checks that the server is alive and ready, and delivers."""
    server.call("GET", "/healthz")
    server.call("GET", "/readyz")
    webhook = {"organizationName": ORGANIZATION, "name": "afterwards", "displayName": "afterwards", "active": True}
    hooks = f"/api/orgs/{ORGANIZATION}/hooks"
    server.call("POST", hooks, {**webhook, "payloadUrl": f"{receiver.url}/afterwards"})
    server.publish({"kind": "stack_update", "payload": stock.PAYLOADS["stack_update"]})
    receiver.at("/afterwards", 1)


if __name__ == "__main__":
    main()
