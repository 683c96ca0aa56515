"""Measure a server of `seqae serve`: how long a reconstruction takes, alone and among others.

    python benchmarks/serve_load.py demo --clients 1 20 --seconds 60

A server is started on one thread, and each client asks for one reconstruction after the other,
without a pause, over a connection that it keeps. Reported for each number of clients: requests,
errors, the median and the 95th percentile of the time until the answer, the server's CPU time for
each, which other programs on the machine do not change, and how much its memory (RSS) has grown
since the first quarter of the time.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

SENTENCES = (
    "the children played in the garden",
    "she closed the door behind her",
    "a house by the river",
    "we went home by train last night",
    "he is afraid of the dog next door",
)


class Client(threading.Thread):
    """Asks one question after the other until a moment.

    Args:
        place: host and port.
        token: of the server.
        until: by time.monotonic.
        number: which of the clients; each asks other texts.
    """

    def __init__(self, place: str, token: str, until: float, number: int) -> None:
        super().__init__(daemon=True)
        self.place, self.token, self.until, self.number = place, token, until, number
        self.seconds: list[float] = []
        self.errors: list[str] = []

    def run(self) -> None:
        """Ask until the moment has come."""
        connection = http.client.HTTPConnection(self.place, timeout=60)
        headers = {"Content-Type": "application/json", "X-Seqae-Token": self.token}
        count = self.number
        while time.monotonic() < self.until:
            body = json.dumps({"texts": [SENTENCES[count % len(SENTENCES)]]})
            started = time.monotonic()
            try:
                connection.request("POST", "/api/reconstruct", body, headers)
                answer = connection.getresponse()
                said = answer.read()
                if answer.status != 200 or not json.loads(said)[0]["tokens"]:
                    self.errors.append(f"{answer.status} {said[:200]!r}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.errors.append(repr(error))
                connection.close()
            self.seconds.append(time.monotonic() - started)
            count += 1


def memory(process: int) -> int:
    """Return the resident memory of a process in bytes, by /proc."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(process: int) -> float:
    """Return the CPU time that a process has used, by /proc."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(
    place: str, token: str, process: int, clients: int, seconds: float
) -> dict[str, object]:
    """Let clients ask for some time."""
    until, spent = time.monotonic() + seconds, cpu_seconds(process)
    asking = [Client(place, token, until, number) for number in range(clients)]
    for client in asking:
        client.start()
    time.sleep(seconds / 4)
    early = memory(process)
    for client in asking:
        client.join()
    late, spent = memory(process), cpu_seconds(process) - spent
    times = sorted(second for client in asking for second in client.seconds)
    errors = [error for client in asking for error in client.errors]
    return {
        "clients": clients,
        "seconds": seconds,
        "requests": len(times),
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
        "requests_per_second": round(len(times) / seconds, 1),
        "median_ms": round(1000 * statistics.median(times), 1),
        "p95_ms": round(1000 * times[int(0.95 * (len(times) - 1))], 1),
        "max_ms": round(1000 * times[-1], 1),
        "cpu_ms": round(1000 * spent / len(times), 1),
        "memory_mb": round(late / 2**20, 1),
        "growth_mb": round((late - early) / 2**20, 1),
    }


def main() -> None:
    """Start a server, measure it, and print one line of JSON for each number of clients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--output", help="a .json file")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "seqae", "serve", arguments.model, "--port", "0"]
    command += ["--rate", "100000"]  # all clients share one address, and never pause
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [*command, "--no_browser"], stdout=subprocess.PIPE, text=True, env={**os.environ, **one}
    )
    try:
        assert server.stdout is not None
        url = urlsplit(server.stdout.readline().strip())
        token = parse_qs(url.query)["token"][0]
        measure(url.netloc, token, server.pid, 1, 2.0)
        rows = []
        for clients in arguments.clients:
            row = measure(url.netloc, token, server.pid, clients, arguments.seconds)
            rows.append(row)
            print(json.dumps(row), flush=True)
    finally:
        started = time.monotonic()
        server.send_signal(signal.SIGINT)
        status = server.wait(timeout=10)
        ended = time.monotonic() - started
    end = {"status": status, "seconds_to_end": round(ended, 2)}
    print(json.dumps(end))
    if arguments.output:
        about = {"model": arguments.model, "machine": platform.machine(), "cores": os.cpu_count()}
        text = json.dumps(
            {**about, "python": platform.python_version(), "rows": rows, **end}, indent=2
        )
        Path(arguments.output).write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
