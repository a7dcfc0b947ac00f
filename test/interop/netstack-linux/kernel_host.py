"""A host made of the Linux kernel's own TCP/IP, for the in-process stack to talk to.

Runs inside a fresh user and network namespace. Opens a TUN device there and passes its packets through
standard input and output, each behind its length (four octets, network byte order). Applications on the
kernel's sockets are asked for over file descriptors 3 (requests) and 4 (answers), one JSON object a line:
every request has an `id`, every answer repeats it. `far-start` adds a second host in a namespace of its own,
reached over a narrower link that this one forwards to; `far` hands a request on to it. Needs nothing but
Python's standard library, `ip` and `unshare`.
"""

import fcntl
import hashlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
CHUNK = 65536
PATTERN = bytes((i * 31 + (i >> 8) * 7) & 0xFF for i in range(1 << 20))


def main():
    config = json.loads(sys.argv[1])
    if "far" in config:
        far_host(config)
        return
    tun = open_tun("tw0")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "set", "tw0", "mtu", str(config["mtu"]))
    for address in config["addresses"]:
        run("ip", "addr", "add", address, "dev", "tw0", *(["nodad"] if ":" in address else []))
    run("ip", "link", "set", "tw0", "up")
    for name, value in config.get("sysctl", {}).items():
        with open("/proc/sys/" + name.replace(".", "/"), "w", encoding="ascii") as file:
            file.write(str(value))
    for route in config.get("routes", []):
        run("ip", *route)
    # The kernel takes packets for an IPv6 address some time after it was given: a worker of its own makes the route.
    until(lambda: all(f"local {address.split('/')[0]} " in local_routes() for address in config["addresses"]))
    threading.Thread(target=serve, daemon=True).start()
    answer({"id": 0, "ready": True})
    pump(tun)


def open_tun(name):
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    os.set_blocking(tun, False)
    return tun


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def local_routes():
    return "".join(
        subprocess.run(("ip", version, "route", "show", "table", "local", "dev", "tw0"), check=True, capture_output=True, text=True).stdout
        for version in ("-4", "-6")
    )


def until(condition):
    """Waits, a minute at most."""
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)


def pump(tun):
    """Moves packets both ways until standard input ends."""
    inbox = bytearray()
    outbox = bytearray()
    while True:
        wait_write = [1] if outbox else []
        wait_read = [0] if len(outbox) > 4 * 1024 * 1024 else [0, tun]
        readable, writable, _ = select.select(wait_read, wait_write, [])
        if 0 in readable:
            data = os.read(0, 1 << 20)
            if not data:
                return
            inbox += data
            at = 0
            while len(inbox) - at >= 4:
                length = int.from_bytes(inbox[at : at + 4], "big")
                if len(inbox) - at - 4 < length:
                    break
                try:
                    os.write(tun, inbox[at + 4 : at + 4 + length])
                except OSError:
                    pass
                at += 4 + length
            del inbox[:at]
        if tun in readable:
            for _ in range(256):
                try:
                    packet = os.read(tun, 65536)
                except BlockingIOError:
                    break
                outbox += len(packet).to_bytes(4, "big") + packet
        if outbox and (writable or not wait_write):
            del outbox[: os.write(1, outbox[: 1 << 16])]


def serve():
    with os.fdopen(3, "r", encoding="utf-8") as requests:
        for line in requests:
            request = json.loads(line)
            threading.Thread(target=handle, args=(request,), daemon=True).start()


LOCK = threading.Lock()


def answer(value):
    with LOCK:
        os.write(4, (json.dumps(value) + "\n").encode())


def handle(request):
    try:
        result = COMMANDS[request["command"]](request)
        answer({"id": request["id"], "result": result})
    except OSError as error:
        answer({"id": request["id"], "error": errno_name(error)})
    except Exception as error:  # the test has to hear of it, whatever it is
        answer({"id": request["id"], "error": repr(error)})


def errno_name(error):
    import errno

    return errno.errorcode.get(error.errno, str(error)) if error.errno else str(error)


def family(ip):
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def stream(request, name):
    made = socket.socket(family(request["ip"]), socket.SOCK_STREAM)
    for level, option, value in request.get(name, []):
        made.setsockopt(getattr(socket, level), getattr(socket, option), value)
    made.settimeout(request.get("timeout", 60))
    return made


def listen(request):
    """Listens, tells so, and goes on in the background with one connection."""
    server = stream(request, "options")
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((request["ip"], request["port"]))
    server.listen(16)

    def go():
        try:
            connection, _ = server.accept()
            server.close()
            connection.settimeout(request.get("timeout", 60))
            answer({"id": request["then"], "result": ROLES[request["role"]](connection, request)})
        except OSError as error:
            answer({"id": request["then"], "error": errno_name(error)})

    threading.Thread(target=go, daemon=True).start()
    return {"port": server.getsockname()[1]}


def connect(request):
    connection = stream(request, "options")
    connection.connect((request["ip"], request["port"]))
    return ROLES[request["role"]](connection, request)


def role_sink(connection, request):
    """Reads to the end."""
    digest, length = hashlib.sha256(), 0
    while True:
        if request.get("pause"):
            time.sleep(request["pause"])
        data = connection.recv(request.get("chunk", CHUNK))
        if not data:
            break
        digest.update(data)
        length += len(data)
    connection.close()
    return {"octets": length, "sha256": digest.hexdigest()}


def role_source(connection, request):
    """Sends so many octets and ends; waits for the other end."""
    digest, left = hashlib.sha256(), request["octets"]
    while left > 0:
        data = PATTERN[: min(left, len(PATTERN))]
        connection.sendall(data)
        digest.update(data)
        left -= len(data)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(CHUNK):
        pass
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    connection.close()
    return {"octets": request["octets"], "sha256": digest.hexdigest(), "options": info[5]}


def role_echo(connection, _request):
    length = 0
    while True:
        data = connection.recv(CHUNK)
        if not data:
            break
        connection.sendall(data)
        length += len(data)
    connection.close()
    return {"octets": length}


def role_reset(connection, _request):
    """Waits for an octet and resets."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return {}


ROLES = {"sink": role_sink, "source": role_source, "echo": role_echo, "reset": role_reset}


def udp_echo(request):
    server = socket.socket(family(request["ip"]), socket.SOCK_DGRAM)
    server.settimeout(request.get("timeout", 60))
    server.bind((request["ip"], request["port"]))

    def go():
        for _ in range(request["count"]):
            data, peer = server.recvfrom(65536)
            server.sendto(data, peer)
        server.close()

    threading.Thread(target=go, daemon=True).start()
    return {}


def udp_ask(request):
    """Sends datagrams of these sizes, one by one, and says what came back."""
    client = socket.socket(family(request["ip"]), socket.SOCK_DGRAM)
    client.settimeout(request.get("timeout", 30))
    client.connect((request["ip"], request["port"]))
    same = []
    for size in request["sizes"]:
        client.send(PATTERN[:size])
        same.append(client.recv(65536) == PATTERN[:size])
    client.close()
    return {"same": same}


def ping(request):
    """ICMP echo over a raw socket; milliseconds, or the ICMP type and code that came instead."""
    six = ":" in request["ip"]
    raw = socket.socket(family(request["ip"]), socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
    raw.settimeout(request.get("timeout", 30))
    if not request.get("fragment", True) and not six:
        raw.setsockopt(socket.IPPROTO_IP, 10, 2)
    ident, data = 0x7477, PATTERN[: request.get("size", 56)]
    header = struct.pack("!BBHHH", 128 if six else 8, 0, 0, ident, 1)
    if not six:
        header = struct.pack("!BBHHH", 8, 0, checksum(header + data), ident, 1)
    began = time.monotonic()
    raw.sendto(header + data, (request["ip"], 0))
    while True:
        packet, peer = raw.recvfrom(70000)
        body = packet if six else packet[(packet[0] & 15) * 4 :]
        if body[0] == (129 if six else 0) and body[4:6] == header[4:6]:
            return {"ms": (time.monotonic() - began) * 1000, "from": peer[0], "same": body[8:] == data}


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data[: len(data) & ~1]))
    if len(data) % 2:
        total += data[-1] << 8
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def snmp(_request):
    """The kernel's own counters: what it thought of what it received."""
    found = {}
    for path in ("/proc/net/snmp", "/proc/net/netstat"):
        with open(path, encoding="ascii") as file:
            lines = file.read().splitlines()
        for names, values in zip(lines[::2], lines[1::2]):
            prefix, *keys = names.split()
            found.update((prefix.rstrip(":") + key, int(value)) for key, value in zip(keys, values.split()[1:]))
    return found


def command(request):
    run(*request["argv"])
    return {}


FAR = {"requests": None}


def far_start(request):
    """A veth link of the given MTU and a host behind it."""
    run("ip", "link", "add", "near", "mtu", str(request["mtu"]), "type", "veth", "peer", "name", "far", "mtu", str(request["mtu"]))
    for address in request["near"]:
        run("ip", "addr", "add", address, "dev", "near", *(["nodad"] if ":" in address else []))
    run("ip", "link", "set", "near", "up")
    reader, writer = os.pipe()
    config = json.dumps({"far": request["addresses"], "via": request["via"]})
    child = subprocess.Popen(["unshare", "-n", sys.executable, os.path.abspath(__file__), config, str(reader)], pass_fds=(reader, 4))
    os.close(reader)
    FAR["requests"] = os.fdopen(writer, "w", encoding="utf-8")
    # The link cannot move before the namespace is there.
    own = os.readlink("/proc/self/ns/net")
    until(lambda: os.readlink(f"/proc/{child.pid}/ns/net") != own)
    run("ip", "link", "set", "far", "netns", str(child.pid))
    return {}


def far(request):
    FAR["requests"].write(json.dumps(request["request"]) + "\n")
    FAR["requests"].flush()
    return {}


def far_host(config):
    run("ip", "link", "set", "lo", "up")
    until(lambda: "far:" in open("/proc/net/dev", encoding="ascii").read())
    for address in config["far"]:
        run("ip", "addr", "add", address, "dev", "far", *(["nodad"] if ":" in address else []))
    run("ip", "link", "set", "far", "up")
    for gateway in config["via"]:
        # Offers a segment size that the narrow link does not carry: the sender has to find out by itself.
        run("ip", "route", "add", "default", "via", gateway, "advmss", "1440")
    os.dup2(int(sys.argv[2]), 3)
    serve()


COMMANDS = {
    "far-start": far_start,
    "far": far,
    "listen": listen,
    "connect": connect,
    "udp-echo": udp_echo,
    "udp-ask": udp_ask,
    "ping": ping,
    "snmp": snmp,
    "run": command,
}

if __name__ == "__main__":
    main()
