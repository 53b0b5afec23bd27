"""Files are written whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest

from leakyrelu import leaky_relu
from leakyrelu._shared import files
from leakyrelu._shared.files import apply, written_whole

posix = pytest.mark.skipif(os.name != "posix", reason="modes, pipes and limits are POSIX's")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.npy"
    np.save(path, np.arange(-6.0, 6.0))
    return path


ARRAYS = {
    "one dimension": np.arange(-5, 5, dtype=np.float32),
    "fortran": np.asfortranarray(np.arange(-6.0, 6.0).reshape(3, 4)),
    "c order": np.arange(-6.0, 6.0).reshape(3, 2, 2),
    "zero dimensions": np.array(-3.0),
    "empty": np.empty((0, 3)),
    "big endian": np.arange(-5, 5, dtype=">f8"),
    "big endian integers": np.arange(-5, 5, dtype=">i2"),
    "bool": np.array([True, False]),
    "int8": np.arange(-128, 128, dtype=np.int8),
    "float16": np.linspace(-1, 1, 7, dtype=np.float16),
    "longdouble": np.linspace(-1, 1, 7, dtype=np.longdouble),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("block", [8, 64, 2**26])
def test_apply_is_the_function_on_the_whole(tmp_path, monkeypatch, name, block):
    monkeypatch.setattr(files, "_BLOCK_BYTES", max(block, ARRAYS[name].itemsize, 8))
    array = ARRAYS[name]
    np.save(tmp_path / "in.npy", array)
    apply(leaky_relu, tmp_path / "in.npy", tmp_path / "out.npy")
    result = np.load(tmp_path / "out.npy", allow_pickle=False)
    np.testing.assert_array_equal(result, leaky_relu(array))
    assert result.shape == array.shape
    assert result.dtype == leaky_relu(array).dtype
    assert result.flags.f_contiguous == array.flags.f_contiguous
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npy", "out.npy"]


def test_progress_reaches_the_total(source, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_BLOCK_BYTES", 40)
    seen = []
    apply(leaky_relu, source, tmp_path / "out.npy", progress=lambda *at: seen.append(at))
    assert seen == [(40, 96), (80, 96), (96, 96)]


def test_existing_target_is_kept_unless_overwritten(source, tmp_path):
    target = tmp_path / "out.npy"
    target.write_text("mine")
    with pytest.raises(FileExistsError, match=r"out\.npy exists already"):
        apply(leaky_relu, source, target)
    assert target.read_text() == "mine"
    apply(leaky_relu, source, target, overwrite=True)
    np.testing.assert_array_equal(np.load(target), leaky_relu(np.arange(-6.0, 6.0)))


def test_target_that_appears_meanwhile_is_kept(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(FileExistsError, match="exists already"), written_whole(target, overwrite=False):
        target.write_text("theirs")
    assert target.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("overwrite", [False, True])
def test_target_where_the_file_system_has_no_links(source, tmp_path, monkeypatch, overwrite):
    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    target = tmp_path / "out.npy"
    apply(leaky_relu, source, target, overwrite=overwrite)
    assert np.load(target).shape == (12,)
    with pytest.raises(FileExistsError):
        apply(leaky_relu, source, target)


@posix
def test_overwriting_keeps_links_and_modes(source, tmp_path):
    target, link = tmp_path / "out.npy", tmp_path / "link.npy"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    apply(leaky_relu, source, link, overwrite=True)
    assert link.is_symlink()
    assert np.load(target).shape == (12,)
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("make", ["mkdir", pytest.param("mkfifo", marks=posix)])
def test_what_is_no_regular_file_is_never_replaced(source, tmp_path, make):
    target = tmp_path / "special"
    getattr(os, make)(target)
    before = target.stat().st_ino
    with pytest.raises(ValueError, match="special is not a regular file"):
        apply(leaky_relu, source, target, overwrite=True)
    assert target.stat().st_ino == before


def test_names_may_be_as_long_as_the_file_system_allows(source, tmp_path):
    target = tmp_path / ("n" * 251 + ".npy")
    apply(leaky_relu, source, target)
    assert target.exists()


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_same_file_for_both_is_refused(source, tmp_path, link):
    target = source
    if link is not None:
        target = tmp_path / "other.npy"
        link(source, target)
    before = source.read_bytes()
    with pytest.raises(ValueError, match="are the same file"):
        apply(leaky_relu, source, target, overwrite=True)
    assert source.read_bytes() == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_nothing_behind(source, tmp_path, monkeypatch, error):
    monkeypatch.setattr(files, "_BLOCK_BYTES", 8)
    calls = 0

    def fails(x):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise error
        return leaky_relu(x)

    with pytest.raises(error):
        apply(fails, source, tmp_path / "out.npy")
    assert list(tmp_path.iterdir()) == [source]


def test_full_disk_leaves_nothing_behind(source, tmp_path):
    resource = pytest.importorskip("resource")
    # A limit on the size of files stands in for a full disk: both fail the write.
    np.save(source, np.ones(100_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            apply(leaky_relu, source, tmp_path / "out.npy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == [source]


def test_a_killed_process_leaves_no_partial_file_under_the_name(source, tmp_path):
    np.save(source, np.ones(3_000_000))
    code = (
        "import pathlib, sys, time\n"
        "from leakyrelu import leaky_relu\n"
        "from leakyrelu._shared import files\n"
        "files._BLOCK_BYTES = 8_000\n"
        "def slow(x): time.sleep(0.002); return leaky_relu(x)\n"
        "files.apply(slow, pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), progress=lambda *_: print('.', flush=True))\n"
    )
    target = tmp_path / "out.npy"
    with subprocess.Popen([sys.executable, "-c", code, source, target], stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # the first block is written
        process.kill()
    assert process.returncode == (-signal.SIGKILL if os.name == "posix" else 1)
    assert not target.exists()


@linux
@pytest.mark.slow
def test_memory_stays_small_however_large_the_file(tmp_path):
    # 2 GiB of zeros, which take no room on the disk, under a limit of 1 GB on the address space.
    source, target = tmp_path / "in.npy", tmp_path / "out.npy"
    with open(source, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"shape": (2**31,), "fortran_order": False, "descr": "|i1"})
        file.truncate(file.tell() + 2**31)
    code = (
        "import pathlib, resource, sys\n"
        "import numpy as np\n"
        "from leakyrelu._shared import files\n"
        "resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))\n"
        "files.apply(lambda x: np.zeros(len(x), np.int8), pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code, source, target], env=environment, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert target.stat().st_size == source.stat().st_size


def npy(header):
    """A file with this header and room for a few numbers."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(80)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is not a .npy file"),
        (b"not an array at all", "is not a .npy file"),
        (b"\x93NUMPY\x01\x00", "is not a .npy file"),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8'}\n", "is not a .npy file"),
        (b"\x93NUMPY\x09\x09\x10\x00{}", "it says version 9.9 of the format, and NumPy writes 1.0, 2.0, 3.0"),
        (b"PK\x03\x04", "is not a .npy file"),
        *(
            (npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}"), "is not a .npy file")
            for shape in ("(-5,)", "(-1, -5)", "(True,)", "(0, 2**70)", f"({'1, ' * 70})", "5")
        ),
        (npy("{'descr': ('<f8', (2,)), 'fortran_order': False, 'shape': (1,)}"), "not plain numbers"),
    ],
)
def test_foreign_files_are_refused(tmp_path, content, text):
    source = tmp_path / "in.npy"
    source.write_bytes(content)
    with pytest.raises(ValueError, match=text) as error:
        apply(leaky_relu, source, tmp_path / "out.npy")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [source]


def test_truncated_files_are_refused(source, tmp_path):
    source.write_bytes(source.read_bytes()[:-1])
    with pytest.raises(ValueError, match="truncated: 96 bytes of data expected, 95 found"):
        apply(leaky_relu, source, tmp_path / "out.npy")


def test_objects_are_never_unpickled(tmp_path):
    source = tmp_path / "in.npy"
    np.save(source, np.array([print], object), allow_pickle=True)
    with pytest.raises(ValueError, match="holds object, not plain numbers"):
        apply(leaky_relu, source, tmp_path / "out.npy")


def test_types_the_function_refuses_are_refused_before_anything_is_written(tmp_path):
    source = tmp_path / "in.npy"
    np.save(source, np.ones(3, complex))
    with pytest.raises(TypeError, match="got complex128"):
        apply(leaky_relu, source, tmp_path / "out.npy")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("dimensions", [32, 33, 48, 64])
def test_arrays_of_all_dimensions_that_numpy_has(tmp_path, dimensions):
    array = np.array([-2.0, -1.0, 3.0]).reshape((1,) * (dimensions - 1) + (3,))
    np.save(tmp_path / "in.npy", array)
    apply(leaky_relu, tmp_path / "in.npy", tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), leaky_relu(array))


@pytest.mark.parametrize("more", ["a second array", "one byte"])
def test_what_comes_after_the_array_is_not_dropped_in_silence(source, tmp_path, more):
    source.write_bytes(source.read_bytes() + (source.read_bytes() if more == "a second array" else b"\0"))
    with pytest.raises(ValueError, match=r"in\.npy holds \d+ bytes more than its array of 96, such as a second array"):
        apply(leaky_relu, source, tmp_path / "out.npy")


@pytest.mark.parametrize("fields", [3, 400, 4000])
def test_records_are_refused_however_many_fields_they_have(source, tmp_path, fields):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of a long header
        np.save(source, np.zeros(2, [(f"field{i}", "f4") for i in range(fields)]))
    with pytest.raises(ValueError, match=rf"records of {fields} fields|header of [\d,]+ bytes is longer than") as error:
        apply(leaky_relu, source, tmp_path / "out.npy")
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4"])
def test_types_that_numpy_saves_as_raw_bytes_are_told_how_to_be_saved(source, tmp_path, name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    np.save(source, np.zeros(3, getattr(ml_dtypes, name)))
    with pytest.raises(ValueError, match=r"in\.npy holds elements of . bytes without a type \(V.*\.view\(ml_dtypes"):
        apply(leaky_relu, source, tmp_path / "out.npy")


@posix
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("links", [["loop"], ["one", "other"]])
def test_links_that_lead_in_a_circle_are_named(source, tmp_path, links, overwrite):
    for link, to in zip(links, links[1:] + links[:1], strict=True):
        (tmp_path / link).symlink_to(to)
    with pytest.raises(OSError, match="symbolic links"):
        apply(leaky_relu, tmp_path / links[0], tmp_path / "out.npy")
    with pytest.raises(OSError, match="symbolic links" if overwrite else "exists already"):
        apply(leaky_relu, source, tmp_path / links[0], overwrite=overwrite)
    assert not list(tmp_path.glob(".*"))


def test_control_characters_in_names_are_shown_escaped(tmp_path):
    odd = tmp_path / "a\n\x1b[31m\udcff.npy"
    odd.write_bytes(b"no array")
    for source, target in ((odd, tmp_path / "out.npy"), (odd, odd)):
        with pytest.raises(ValueError, match=r"a\\n\\x1b\[31m\\udcff\.npy"):
            apply(leaky_relu, source, target, overwrite=True)


# What killed processes leave

SLOW = """
import pathlib, sys, time
from leakyrelu import leaky_relu
from leakyrelu._shared import files
files._BLOCK_BYTES = 800
def slow(x): time.sleep(0.002); return leaky_relu(x)
files.apply(slow, pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), progress=lambda *_: print('.', flush=True))
"""


@pytest.fixture
def writing(source, tmp_path):
    """A process that is in the middle of writing slow.npy."""
    np.save(source, np.ones(3_000_000))
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, source, tmp_path / "slow.npy"], stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        yield process
        process.kill()


def parts(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


@posix
def test_the_next_run_removes_what_a_killed_one_left(writing, tmp_path):
    writing.kill()
    writing.wait()
    assert len(parts(tmp_path)) == 1
    files.write_text(tmp_path / "next.txt", "x")
    assert not parts(tmp_path)


@posix
def test_what_another_process_writes_is_left_alone(writing, tmp_path):
    before = parts(tmp_path)
    files.write_text(tmp_path / "next.txt", "x")
    assert parts(tmp_path) == before
    assert len(before) == 1
    assert writing.poll() is None


@posix
def test_without_locks_what_may_be_left_is_named(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / ".leakyrelu-0123456789abcdef.part").touch()
    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    with pytest.warns(UserWarning, match=r"\.leakyrelu-0123456789abcdef\.part, which could not be removed"):
        files.write_text(tmp_path / "next.txt", "x")
    assert parts(tmp_path) == [".leakyrelu-0123456789abcdef.part"]


@posix
def test_a_part_that_another_process_took_for_a_left_one_is_begun_again(tmp_path, monkeypatch):
    real, taken = files.fcntl.flock, []

    def flock(file, how):
        if not taken:
            taken.append(file.name)
            files.Path(file.name).unlink()
        return real(file, how)

    monkeypatch.setattr(files.fcntl, "flock", flock)
    files.write_text(tmp_path / "next.txt", "x")
    assert taken
    assert [path.name for path in tmp_path.iterdir()] == ["next.txt"]


def test_where_the_system_has_no_such_locks_files_are_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    files.write_text(tmp_path / "next.txt", "x")
    assert (tmp_path / "next.txt").read_text() == "x"


@posix
def test_a_pipe_is_refused_without_waiting_for_its_other_end(tmp_path):
    pipe = tmp_path / "in.npy"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="not a regular file"):
        apply(leaky_relu, pipe, tmp_path / "out.npy")


def test_missing_files_and_directories_are_named(source, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npy"):
        apply(leaky_relu, tmp_path / "none.npy", tmp_path / "out.npy")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        apply(leaky_relu, source, tmp_path / "nowhere" / "out.npy")


@posix
def test_new_files_have_the_usual_mode(source, tmp_path):
    umask = os.umask(0o022)
    try:
        apply(leaky_relu, source, tmp_path / "out.npy")
    finally:
        os.umask(umask)
    assert (tmp_path / "out.npy").stat().st_mode & 0o777 == 0o644
