"""Servers of databases, started on 127.0.0.1 for the tests; a test is skipped where their programs are missing."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

USER, PASSWORD = "me", "S3CRET/p@w"


def free_port():
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def program(name):
    """Where a program is, or skip the test; Debian keeps those of PostgreSQL off the PATH."""
    places = [os.environ["PATH"], *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"{name} is missing")
    return found


class Postgres:
    """A server of PostgreSQL with a data directory of its own."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        # PostgreSQL refuses to be run by root.
        self.as_user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self.as_user:
            shutil.chown(folder, "postgres", "postgres")
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        self.data = folder / "data"
        words = ("-D", self.data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync")
        self.run("initdb", *words)
        self.ctl("start")

    def run(self, name, *words):
        done = subprocess.run(
            [program(name), *map(str, words)], cwd="/", capture_output=True, text=True, **self.as_user
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def ctl(self, action, *words):
        """Run pg_ctl; its output goes to a file, because a server that it starts would keep a pipe open."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self.folder}"
        start = ("-o", options, "-l", self.data / "log") if action != "stop" else ()
        command = [program("pg_ctl"), "-D", self.data, "-w", action, *start, *words]
        done = subprocess.run(
            [*map(str, command)], cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.as_user
        )
        assert done.returncode == 0

    def url(self, password=""):
        return f"postgresql+psycopg://{USER}{password and f':{password}'}@127.0.0.1:{self.port}/postgres"


@contextmanager
def postgres():
    program("initdb")
    pytest.importorskip("psycopg")
    folder = Path(tempfile.mkdtemp(prefix="leakyrelu-"))  # short, because a socket's path must be
    folder.chmod(0o755)
    server = None
    try:
        server = Postgres(folder)
        yield server
    finally:
        if server is not None:
            subprocess.run(
                [program("pg_ctl"), "-D", str(server.data), "-m", "immediate", "stop"],
                cwd="/",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                **server.as_user,
            )
        shutil.rmtree(folder, ignore_errors=True)


class Redis:
    """A server of Redis that keeps its data in a file."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        self.start()

    def start(self):
        words = ("--port", self.port, "--bind", "127.0.0.1", "--requirepass", "S3CRET", "--appendonly", "yes")
        command = [program("redis-server"), *map(str, words), "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(100):
            with closing(socket.socket()) as asked:
                if not asked.connect_ex(("127.0.0.1", self.port)):
                    return
            time.sleep(0.1)
        raise AssertionError("redis-server did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    @property
    def url(self):
        return f"redis://:S3CRET@127.0.0.1:{self.port}"


@contextmanager
def redis(folder):
    program("redis-server")
    pytest.importorskip("redis")
    server = Redis(folder)
    try:
        yield server
    finally:
        server.stop()
