"""A search loses nothing: cut journals, full disks, databases that restart, and servers that are not there."""

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from itertools import count

import pytest
import servers
from commands import WARNINGS_ARE_ERRORS, fails
from optuna.storages import JournalStorage

from leakyrelu.tuning import tune, workers
from leakyrelu.tuning.journal import Journal
from leakyrelu.tuning.secrets import shown_storage, without_secrets

OBJECTIVE = """
import time
def f(seed, alpha):
    with open("calls", "a") as file:
        file.write(f"{alpha} {seed}\\n")
    time.sleep(0.05)
    return 10 - abs(alpha - 0.2) + seed
"""


def hill(alpha, seed):
    return 10 - abs(alpha - 0.2) + seed


def found_in(path, trials):
    """What a search finds that has not been disturbed; `path` is its journal."""
    return tune(hill, trials=trials, seeds=3, storage=str(path), study_name="x")


@pytest.fixture
def soon_gone(monkeypatch):
    """A worker that is silent for a second counts as gone."""
    monkeypatch.setattr(workers, "_SIGN_SECONDS", 0.2)
    monkeypatch.setattr(workers, "_SILENCE_SECONDS", 1.0)


# A journal whose last line was cut


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    """The bytes of a journal of four trials."""
    path = tmp_path_factory.mktemp("whole") / "journal"
    found_in(path, 4)
    return path.read_bytes()


@pytest.mark.usefixtures("soon_gone")
@pytest.mark.parametrize("cut", [1, 2, 10, 50, 120])
def test_a_journal_whose_end_was_cut_is_gone_on_with(journal, cut, tmp_path):
    path, undisturbed = tmp_path / "cut", tmp_path / "whole"
    path.write_bytes(journal[:-cut])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = found_in(path, 6)
    assert found == found_in(undisturbed, 6)
    asides = list(tmp_path.glob("cut.broken-*"))
    if cut == 1:  # the last line lacks its end alone, and is whole
        assert not told
        assert not asides
    else:
        assert [aside.name for aside in asides] == ["cut.broken-1"]
        assert "cut.broken-1" in str(told[0].message)
        tail = journal[:-cut].rpartition(b"\n")[2]
        assert asides[0].read_bytes() == tail
    for line in path.read_bytes().splitlines():
        json.loads(line)


def test_a_line_that_was_put_behind_a_cut_one_is_kept(journal, tmp_path):
    lines = journal.splitlines(keepends=True)
    path = tmp_path / "glued"
    path.write_bytes(b"".join([*lines[:5], lines[5][:20], *lines[5:]]))
    with pytest.warns(UserWarning, match=r"glued\.broken-1"):
        Journal(str(path))
    assert path.read_bytes() == journal
    assert (tmp_path / "glued.broken-1").read_bytes() == lines[5][:20]


def test_zeros_that_a_crash_left_are_set_aside(journal, tmp_path):
    path = tmp_path / "zeros"
    path.write_bytes(journal + b"\0" * 512)
    with pytest.warns(UserWarning, match="set aside"):
        Journal(str(path))
    assert path.read_bytes() == journal


def test_a_journal_of_zeros_alone_is_begun_anew(tmp_path):
    path = tmp_path / "zeros"
    path.write_bytes(b"\0" * 512)
    with pytest.warns(UserWarning, match="set aside"):
        assert found_in(path, 3).best is not None


def test_what_was_set_aside_before_is_kept(journal, tmp_path):
    for each in range(1, 4):
        (tmp_path / "journal").write_bytes(journal + b'{"op_code": %d' % each)
        with pytest.warns(UserWarning, match=rf"journal\.broken-{each}"):
            Journal(str(tmp_path / "journal"))
    assert (tmp_path / "journal.broken-1").read_bytes() == b'{"op_code": 1'


def test_a_worker_that_dies_while_it_writes_does_not_spoil_the_line_of_another(tmp_path):
    path = tmp_path / "journal"
    backend = Journal(str(path))
    storage = JournalStorage(backend)
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    with pytest.warns(UserWarning, match="set aside"):
        backend.append_logs([{"op_code": 0, "worker_id": "w", "study_name": "x", "directions": [1]}])
    storage._sync_with_backend()
    assert len(path.read_bytes().splitlines()) == 1


@pytest.mark.slow
def test_a_lock_that_a_killed_process_left_is_released_also_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "journal"
    path.touch()
    (tmp_path / "folder" / "journal.lock").symlink_to(path)
    monkeypatch.setattr("optuna.storages.journal._file.time.monotonic", counted_by(10))
    Journal("folder/journal")
    assert not (tmp_path / "folder" / "journal.lock").is_symlink()


def counted_by(step):
    numbers = count(0, step)
    return lambda: next(numbers)


# A full disk


@contextmanager
def small_disk(folder, kilobytes):
    """A file system in memory that is full after so many kilobytes."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("this process may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Write a file until nothing fits any more."""
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            return


@pytest.mark.usefixtures("soon_gone")
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_search_that_a_full_disk_has_ended_goes_on_when_there_is_room(kind, tmp_path):
    with small_disk(tmp_path / "disk", 400) as disk:
        storage = f"sqlite:///{disk / 'tune.db'}" if kind == "sqlite" else str(disk / "tune.journal")
        keywords = {"seeds": 3, "storage": storage, "study_name": "x", "patience": 0}
        calls = []

        def counting(alpha, seed):
            calls.append((alpha, seed))
            if len(calls) == 10:
                fill(disk)
            return hill(alpha, seed)

        tune(counting, trials=3, **keywords)
        with pytest.raises(OSError, match=r"the storage .* failed: .*(full|No space left).* a later call continues"):
            tune(counting, trials=30, **keywords)
        with pytest.raises((OSError, ValueError), match=r"full|No space left"):
            tune(counting, trials=30, **keywords)
        (disk / "ballast").unlink()
        found = tune(counting, trials=8, **keywords)
    assert found == tune(hill, trials=8, seeds=3, study_name="x")
    assert len(calls) - len(set(calls)) <= 2  # the seed whose score could not be kept, once per attempt


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_search_waits_while_the_disk_is_full(kind, tmp_path):
    with small_disk(tmp_path / "disk", 400) as disk:
        storage = f"sqlite:///{disk / 'tune.db'}" if kind == "sqlite" else str(disk / "tune.journal")
        calls = []

        def counting(alpha, seed):
            calls.append((alpha, seed))
            if len(calls) == 7:
                fill(disk)
                threading.Timer(1.5, (disk / "ballast").unlink).start()
            return hill(alpha, seed)

        with pytest.warns(UserWarning, match=r"waiting for up to 60 seconds") as told:
            found = tune(counting, trials=6, seeds=3, storage=storage, study_name="x", patience=60)
    assert len(told) == 1
    assert found == tune(hill, trials=6, seeds=3, study_name="x")
    assert len(calls) == len(set(calls))


# Servers


@pytest.fixture(scope="module")
def postgres():
    with servers.postgres() as server:
        yield server


def worker(folder, *words, **environment):
    command = [sys.executable, "-m", "leakyrelu", "tune", "objective:f", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=os.environ | environment, **pipes)


def password_file(folder, server):
    path = folder / "pgpass"
    path.write_text(f"127.0.0.1:{server.port}:*:{servers.USER}:{servers.PASSWORD}\n")
    path.chmod(0o600)
    return str(path)


@pytest.mark.slow
def test_workers_wait_while_postgresql_restarts_and_lose_nothing(postgres, tmp_path):
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    environment = {"PGPASSFILE": password_file(tmp_path, postgres), "LEAKYRELU_STORAGE": postgres.url()}
    words = ("--trials", "10", "--seeds", "8")
    workers = [worker(tmp_path, *words, **environment) for _ in range(3)]
    calls = tmp_path / "calls"
    for enough in (5, 30):
        while not calls.exists() or len(calls.read_text().splitlines()) < enough:
            assert any(each.poll() is None for each in workers)
            time.sleep(0.05)
        postgres.ctl("restart", "-m", "fast")
    outputs = [each.communicate(timeout=120) for each in workers]
    assert [each.returncode for each in workers] == [0, 0, 0], outputs
    assert len({output.partition("Best of")[2] for output, _ in outputs}) == 1
    # Other lines are Optuna's own: it may take the lost connection for a query that is too long, and say so.
    told = [[line for line in errors.splitlines() if line.startswith("leakyrelu: ")] for _, errors in outputs]
    assert any(told)
    for lines in told:
        assert len(lines) <= 1  # the two restarts are seconds apart
        assert all(line.startswith("leakyrelu: warning: the storage postgresql+psycopg://***@") for line in lines)
    made = calls.read_text().splitlines()
    assert len(made) == len(set(made))  # no seed of any slope was run twice


@pytest.mark.slow
def test_a_worker_that_starts_while_postgresql_is_down_waits(postgres, tmp_path):
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    environment = {"PGPASSFILE": password_file(tmp_path, postgres), "LEAKYRELU_STORAGE": postgres.url()}
    postgres.ctl("stop", "-m", "fast")
    try:
        started = worker(tmp_path, "--trials", "3", "--seeds", "1", "--study-name", "late", **environment)
        line = started.stderr.readline()
    finally:
        postgres.ctl("start")
    assert "waiting for up to 300 seconds" in line
    output, errors = started.communicate(timeout=60)
    assert (started.returncode, errors) == (0, "")
    assert "Best of 3 slopes" in output


@pytest.mark.parametrize("password", ["S3CRET", "S3CRET@p@w", "S3CRET/p@w"])
def test_a_wrong_password_is_not_waited_for_and_not_shown(postgres, tmp_path, password):
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    message = fails("tune", "objective:f", "--storage", postgres.url(password), cwd=tmp_path)
    assert "the storage postgresql+psycopg://***@127.0.0.1" in message
    assert "S3CRET" not in message
    assert "p@w" not in message


def test_redis_that_restarts_is_waited_for(tmp_path):
    with servers.redis(tmp_path) as server:
        calls = []

        def counting(alpha, seed):
            calls.append((alpha, seed))
            if len(calls) == 7:
                server.stop()
                threading.Timer(1.0, server.start).start()
            return hill(alpha, seed)

        with pytest.warns(UserWarning, match=r"the storage redis://\*\*\*@127\.0\.0\.1:\d+ fails"):
            found = tune(counting, trials=6, seeds=3, storage=server.url, study_name="x", patience=60)
    assert found == tune(hill, trials=6, seeds=3, study_name="x")
    assert len(calls) == len(set(calls))


# What is said, and what is not


@pytest.mark.parametrize(
    ("storage", "shown"),
    [
        ("redis://:S3CRET/pw@localhost:1/0", "redis://***@localhost:1/0"),
        ("redis://:S3CRET@localhost:1", "redis://***@localhost:1"),
        ("rediss://me:S3CRET@localhost:1", "rediss://***@localhost:1"),
        ("postgresql+psycopg://me:S3CRET@pw@127.0.0.1:1/db", "postgresql+psycopg://***@127.0.0.1:1/db"),
        ("postgresql+psycopg://me:S3CRET@127.0.0.1:port/db", "postgresql+psycopg://***@127.0.0.1:port/db"),
        ("postgresql+psycopg://127.0.0.1:1/db?password=S3CRET", "postgresql+psycopg://127.0.0.1:1/db?***"),
        ("postgresql:me:S3CRET@host/db", "postgresql:***@host/db"),
        ("postgresql:/me:S3CRET@host/db", "postgresql:/***@host/db"),
        ("sqlite://S3CRET@x/", "sqlite://***@x/"),
        ("nonsense://me:S3CRET@x/", "nonsense://***@x/"),
        ("mysql+pymysql://me:S3CRET@127.0.0.1:1/db", "mysql+pymysql://***@127.0.0.1:1/db"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_named_without_its_password(storage, shown, tmp_path):
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    message = fails("tune", "objective:f", "--storage", storage, "--patience", "0", cwd=tmp_path)
    assert f"the storage {shown} " in message
    assert "S3CRET" not in message
    assert not [path for path in tmp_path.iterdir() if "S3CRET" in path.name]


@pytest.mark.parametrize(
    "words",
    [
        ("tune", "--storage", "--storage", "postgresql+psycopg://me:S3CRET@127.0.0.1:1/x"),
        ("tune", "objective:f", "redis://:S3CRET/pw@localhost:1/0"),
        ("tune", "objective:f", "postgresql:me:S3CRET@host/db"),
        ("tune", "objective:f", "postgresql://host/db?password=S3CRET"),
        ("tune", "--postgresql://me:S3CRET@host/x"),
        ("tune", "objective:f", "--output", "sqlite://S3CRET@x/"),
        ("postgresql://me:S3CRET@host/x",),
        ("apply", "redis://:S3CRET@localhost", "y.npy"),
    ],
)
def test_a_url_at_a_wrong_place_is_named_without_its_password(words, tmp_path):
    assert "S3CRET" not in fails(*words, cwd=tmp_path)


def test_the_environment_names_the_storage(tmp_path):
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    command = [sys.executable, "-m", "leakyrelu", "tune", "objective:f", "--trials", "3", "--seeds", "1"]
    environment = os.environ | WARNINGS_ARE_ERRORS | {"LEAKYRELU_STORAGE": "sqlite:///of-the-environment.db"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "of-the-environment.db").exists()


def test_paths_are_named_as_they_are():
    assert shown_storage("folder/tune@home.log") == "folder/tune@home.log"
    assert shown_storage("sqlite:///tune.db") == "sqlite:///tune.db"
    assert shown_storage(None) == "the NoneType"


def test_parts_of_a_password_are_hidden_wherever_they_are():
    storage = "postgresql://me:a%40b/secret@host:1/db?sslpassword=other"
    text = "no port 'secret' for a@b, a%40b or other in a band of the user me at host"
    assert without_secrets(text, storage) == "no port '***' for ***, *** or *** in a band of the user me at host"
    assert without_secrets("anything", "journal.log") == "anything"


@pytest.mark.parametrize("patience", [-1, float("nan"), float("inf"), "long"])
def test_patience_is_a_number_of_seconds(patience):
    with pytest.raises(ValueError, match="patience must be a number of seconds"):
        tune(hill, trials=3, seeds=1, patience=patience)


@pytest.mark.parametrize("text", ['{"format": 2, "units": 3}\n', "[]\n", "x\n"])
def test_a_file_that_is_no_journal_is_left_as_it_is(tmp_path, text):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is no journal of Optuna's, and is left as it is"):
        tune(hill, trials=3, seeds=1, study_name="x", storage=str(path))
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]
