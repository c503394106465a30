"""The order book. Knows nothing of SPIFFE, TLS or policies: it listens on loopback.

    python3 orders.py 127.0.0.1:3002
"""

import json
import re
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ORDERS = {"7": {"id": 7, "item": "teapot", "count": 1}, "8": {"id": 8, "item": "kettle", "count": 2}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write for each answer: head and body in two would wait for the other side's delayed ACK.
    wbufsize = -1

    def answer(self, status, body):
        data = (json.dumps({"service": "orders", **body}) + "\n").encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200, {"healthy": True})
        match = re.fullmatch(r"/orders/([0-9]+)", self.path)
        order = ORDERS.get(match[1]) if match else None
        if order is None:
            return self.answer(404, {"error": "no such order"})
        return self.answer(200, order)

    def do_DELETE(self):
        self.answer(200, {"deleted": self.path})

    def log_message(self, format, *args):
        print(self.command, self.path, args[1] if len(args) > 1 else "", flush=True)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: python3 orders.py HOST:PORT")
    host, port = sys.argv[1].split(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"orders listens on {sys.argv[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
