"""Where a search is kept, what happens if Optuna's storages lack an undocumented method, and what is closed."""

import sqlite3
import threading
from contextlib import closing, nullcontext
from sqlite3 import dbapi2

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import TrialState

from leakyrelu.tuning import SlopeState, storage, tune
from leakyrelu.tuning.storage import NEEDED, AskedTrials, StoredTrials, shared_trials


def hill(alpha, seed):
    return 10 - abs(alpha - 0.2) + seed


def kept_in(kind, path):
    return InMemoryStorage() if kind == "memory" else f"sqlite:///{path / 'search.db'}"


@pytest.fixture
def without_a_method(monkeypatch):
    """As if Optuna's storages had no `remove_session`."""
    for kind in (BaseStorage, RDBStorage):
        monkeypatch.delattr(kind, "remove_session")


def test_the_better_way_is_taken_if_all_methods_are_there():
    backend = InMemoryStorage()
    assert isinstance(shared_trials(optuna.create_study(storage=backend), backend), StoredTrials)


@pytest.mark.parametrize("name", NEEDED)
def test_each_missing_method_leads_to_the_other_way(name):
    backend = InMemoryStorage()
    study = optuna.create_study(storage=backend)

    class Lacking:
        def __getattr__(self, wanted):
            if wanted == name:
                raise AttributeError(wanted)
            return getattr(backend, wanted)

    assert isinstance(shared_trials(study, Lacking()), AskedTrials)


@pytest.mark.parametrize("kind", ["memory", "a database"])
def test_without_a_method_one_worker_finds_the_same(kind, tmp_path, monkeypatch):
    expected = tune(hill, trials=8, seeds=3)
    for each in (BaseStorage, RDBStorage):
        monkeypatch.delattr(each, "remove_session")
    assert tune(hill, trials=8, seeds=3, storage=kept_in(kind, tmp_path)) == expected


@pytest.mark.usefixtures("without_a_method")
def test_without_a_method_a_search_is_continued(tmp_path):
    where = kept_in("a database", tmp_path)
    first = tune(hill, trials=4, seeds=2, storage=where)
    assert tune(hill, trials=7, seeds=2, storage=where).slopes[:4] == first.slopes


@pytest.mark.usefixtures("without_a_method")
def test_without_a_method_a_trial_that_was_interrupted_counts_as_failed_and_the_search_ends(tmp_path):
    where = kept_in("a database", tmp_path)

    def interrupted(alpha, seed):
        if alpha == 0.01:
            raise KeyboardInterrupt
        return hill(alpha, seed)

    with pytest.raises(KeyboardInterrupt):
        tune(interrupted, trials=4, seeds=2, storage=where, study_name="x")
    found = tune(hill, trials=4, seeds=2, storage=where, study_name="x")
    assert [slope.state for slope in found.slopes].count(SlopeState.COMPLETE) >= 2
    assert found.failed[0].error == "its worker ended before it did"
    with storage._storage(where) as backend:
        trials = optuna.load_study(study_name="x", storage=backend).trials
    assert trials[1].state == TrialState.FAIL
    assert len(trials) == 4


@pytest.mark.usefixtures("without_a_method")
def test_without_a_method_two_workers_share_a_search():
    backend = InMemoryStorage()
    calls = []

    def counted(alpha, seed):
        calls.append((alpha, seed))
        return hill(alpha, seed)

    def work():
        found.append(tune(counted, trials=8, seeds=2, storage=backend, study_name="x"))

    found = []
    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 2
    assert len(calls) == len(set(calls))
    for each in found:
        assert [slope.trial for slope in each.slopes] == list(range(8))
        assert each.baseline is not None


@pytest.mark.parametrize("kind", ["memory", "a database"])
def test_a_storage_of_optunas_is_known_without_the_name_of_their_class(kind, tmp_path, monkeypatch):
    with storage._storage(None if kind == "memory" else kept_in(kind, tmp_path)) as backend:
        monkeypatch.delattr(optuna.storages, "BaseStorage")
        assert BaseStorage not in storage._kinds_of_storages()
        assert tune(hill, trials=3, seeds=1, storage=backend).best is not None


# Connections


@pytest.fixture
def connections(monkeypatch):
    """All connections to SQLite that are made."""
    made = []

    def connect(*arguments, **keywords):
        made.append(real(*arguments, **keywords))
        return made[-1]

    real = dbapi2.connect
    monkeypatch.setattr(dbapi2, "connect", connect)
    return made


def is_open(connection):
    try:
        connection.total_changes  # noqa: B018  # asks the connection
    except sqlite3.ProgrammingError:
        return False
    return True


def interrupted(alpha, seed):
    raise KeyboardInterrupt


def from_below(alpha, seed):
    """As somebody who deletes the tables in the middle of the search."""
    with closing(sqlite3.connect("search.db")) as connection:
        connection.executescript("DROP TABLE trials; DROP TABLE studies")


@pytest.mark.parametrize(
    ("objective", "keywords", "error"),
    [
        (hill, {}, None),
        (interrupted, {}, KeyboardInterrupt),
        (from_below, {}, OSError),
        (hill, {"limits": (0.1, 0.5)}, ValueError),  # of another search
        (hill, {"study_name": "another's"}, ValueError),  # to be minimised
    ],
)
@pytest.mark.parametrize("lacking", [False, True])
def test_every_connection_is_closed_however_the_search_ends(
    objective, keywords, error, lacking, tmp_path, connections, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with storage._storage("sqlite:///search.db") as backend:
        optuna.create_study(storage=backend, study_name="another's", direction="minimize")
    tune(hill, trials=3, seeds=2, storage="sqlite:///search.db", study_name="x")
    if lacking:
        for kind in (BaseStorage, RDBStorage):
            monkeypatch.delattr(kind, "remove_session")
    connections.clear()
    with nullcontext() if error is None else pytest.raises(error):
        tune(objective, **{"trials": 5, "seeds": 2, "storage": "sqlite:///search.db", "study_name": "x"} | keywords)
    assert connections
    assert not any(map(is_open, connections))


@pytest.mark.parametrize("found", ["no database", "tables of another program"])
def test_every_connection_is_closed_where_no_search_can_begin(found, tmp_path, connections, monkeypatch):
    monkeypatch.setattr(storage, "_WAIT_SECONDS", 0.01)
    path = tmp_path / "search.db"
    if found == "no database":
        path.write_text("a text, and more than the hundred bytes that a header of SQLite has. " * 9)
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE studies (x INTEGER)")
    connections.clear()
    with pytest.raises(ValueError, match=r"the storage sqlite:.* cannot be opened"):
        tune(hill, trials=3, seeds=1, storage=kept_in("a database", tmp_path))
    assert connections
    assert not any(map(is_open, connections))
