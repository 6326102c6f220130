"""An HTTP server that misbehaves.  range_server.py FOLDER: prints its port, serves until stdin ends.

GET /KIND/NAME, with byte ranges; KIND says what happens to the first requests of each path:
  ok        nothing
  cut       three times the connection closes half-way
  stall     once it stops half-way and stays open
  late      twice the answer is 500
  dead      the answer is always 500
  page      once an error page with status 200
  changed   once half of NAME, later NAME.new
While a file NAME.gone is there the answer is 503.
  /count    how many requests there were
"""

import re
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

requests = Counter()
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/count":
            self.reply(200, str(sum(requests.values())).encode())
            return
        with lock:
            number = requests[self.path]
            requests[self.path] += 1
        _, kind, name = self.path.split("/", 2)
        kind = kind.rstrip("0123456789")  # ok1, ok2: the same with counts of their own
        if (Path(sys.argv[1]) / (name + ".gone")).exists():
            self.reply(503, b"gone")
        elif kind == "dead" or (kind == "late" and number < 2):
            self.reply(500, b"out of order")
        elif kind == "page" and number < 1:
            self.reply(200, b"<html>please log in</html>")
        else:
            self.serve(kind, name, number)

    def serve(self, kind, name, number):
        path = Path(sys.argv[1]) / name
        if kind == "changed" and number > 0:
            path = path.with_name(name + ".new")
        data = path.read_bytes()
        first, last, status = 0, len(data) - 1, 200
        span = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range", ""))
        if span:
            first, status = int(span[1]), 206
            last = min(last, int(span[2] or last))
        data = data[first : last + 1]
        half = (kind == "cut" and number < 3) or (kind in ("stall", "changed") and number < 1)
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if half else data)
        self.wfile.flush()
        if half and kind == "stall":
            time.sleep(30)
        self.close_connection = True

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_address[1]}\n")  # in one piece: the reader then hangs up
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
