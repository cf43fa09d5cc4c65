"""Passes bytes on between clients and a server, and does nothing else: `relay.py PORT SERVER_PORT`, on loopback.

What any process between a client and an archive costs at the least.
"""

import select
import socket
import sys

LOOPBACK = "127.0.0.1"
PIECE = 256 << 10


def serve(client, server):
    """Until one side closes."""
    buffer = memoryview(bytearray(PIECE))
    other = {client: server, server: client}
    poll, by_number = select.poll(), {end.fileno(): end for end in other}
    for end in other:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(end, select.POLLIN)
    while True:
        for number, _ in poll.poll():
            end = by_number[number]
            length = end.recv_into(buffer)
            if not length:
                return
            other[end].sendall(buffer[:length])


def main(port, server_port):
    with socket.create_server((LOOPBACK, port)) as listener:
        while True:
            client, _ = listener.accept()
            try:
                with client, socket.create_connection((LOOPBACK, server_port)) as server:
                    serve(client, server)
            except OSError:
                pass  # That client's end.


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
