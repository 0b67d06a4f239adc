"""What becomes of a tar.gz that a stranger wrote: the same files however it comes, a refusal for what is hostile."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.sources.archives import ArchiveInvalid, ArchiveLimits, Unpacking

FILES = {"app.yaml": b"kind: List\n", "base/a/one.yaml": b"a: 1\r\n" * 200, "base/two.yaml": b"", "x" * 200: b"long"}
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def unpack(archive: bytes, step: int = 1 << 20, limits: ArchiveLimits | None = None) -> Mapping[str, bytes]:
    unpacking = Unpacking(limits or ArchiveLimits())
    for at in range(0, len(archive), step):
        unpacking.feed(archive[at : at + step])
    return unpacking.finish()


def tar(
    files: Mapping[str, bytes], *, format_: int = tarfile.PAX_FORMAT, links: Mapping[str, str] | None = None
) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w", format=format_) as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for path, target in (links or {}).items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return body.getvalue()


def tgz(files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None) -> bytes:
    return gzip.compress(tar(files, links=links))


def entry(name: str, type_: bytes = tarfile.REGTYPE, body: bytes = b"", *, size: int | None = None) -> bytes:
    """One entry as GNU's tar writes it; `size` is what it says of a body that is not there."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = type_, len(body) if size is None else size, "a"
    return info.tobuf(tarfile.GNU_FORMAT) + body + b"\0" * (-len(body) % 512)


def pack(body: bytes) -> bytes:
    """Pack `body` as gzip does, without the time, which would be in the name of a test."""
    return gzip.compress(body, mtime=0)


def refusal(archive: bytes, limits: ArchiveLimits | None = None) -> str:
    with pytest.raises(ArchiveInvalid) as caught:
        unpack(archive, limits=limits)
    return str(caught.value)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("step", [1, 100, 512, 1 << 20])
def test_files_are_read_however_the_archive_comes(format_: int, step: int) -> None:
    files = {path: content for path, content in FILES.items() if format_ != tarfile.USTAR_FORMAT or len(path) <= 100}

    assert unpack(gzip.compress(tar(files, format_=format_)), step) == files


@given(
    files=st.dictionaries(
        st.lists(st.text("ab \N{SNOWMAN}é-", min_size=1, max_size=120), min_size=1, max_size=3).map("/".join),
        st.binary(max_size=1500),
        max_size=5,
    ),
    format_=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    step=st.integers(1, 2000),
)
def test_whatever_tar_writes_is_read_again(files: Mapping[str, bytes], format_: int, step: int) -> None:
    archive = gzip.compress(tar(files, format_=format_))
    long = any(len(part.encode()) > 255 for path in files for part in path.split("/"))
    folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
    if long or folders & files.keys():
        assert refusal(archive)
    else:
        assert unpack(archive, step) == files


@given(st.binary(max_size=3000), st.integers(1, 600))
def test_whatever_else_comes_is_refused_and_never_an_accident(body: bytes, step: int) -> None:
    for archive in (body, gzip.compress(body)):
        try:
            assert unpack(archive, step) == {}
        except ArchiveInvalid:
            continue


@given(at=st.integers(0, 2047), byte=st.integers(0, 255))
def test_a_header_with_any_byte_changed_is_read_or_refused(at: int, byte: int) -> None:
    body = bytearray(tar({"a.yaml": b"a", "b/" + "c" * 120: b"b"}))
    body[at] = byte
    with contextlib.suppress(ArchiveInvalid):
        unpack(gzip.compress(bytes(body)))


def test_several_members_of_gzip_are_one_archive() -> None:
    body = tar(FILES)

    assert unpack(b"".join(gzip.compress(body[at : at + 700]) for at in range(0, len(body), 700)), 333) == FILES


def test_an_archive_without_its_last_blocks_is_whole_when_gzip_says_so() -> None:
    assert unpack(gzip.compress(entry("a", body=b"1"))) == {"a": b"1"}


def test_what_follows_the_end_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * (8 << 20))

    assert unpack(tgz(FILES) + bomb + b"garbage", limits=ArchiveLimits(total_bytes=1 << 20)) == FILES


def test_links_and_empty_folders_are_left_out() -> None:
    assert unpack(tgz(FILES, links={"in": "app.yaml", "out": "../../etc/passwd", "abs": "/etc/passwd"})) == FILES
    assert unpack(gzip.compress(entry("empty/", tarfile.DIRTYPE) + entry("./"[:2], tarfile.DIRTYPE))) == {}


def test_paths_are_kept_in_their_plain_form_and_the_last_of_two_counts() -> None:
    body = entry("./a//b", body=b"1") + entry("a/b", body=b"2")

    assert unpack(gzip.compress(body)) == {"a/b": b"2"}


@pytest.mark.parametrize("path", [".git/config", "a/.GIT/hooks/x", ".git"])
def test_what_is_git_s_own_is_left_out(path: str) -> None:
    assert unpack(tgz({path: b"x", "a.yaml": b"a"})) == {"a.yaml": b"a"}


def test_the_header_that_git_archive_writes_for_all_files_is_passed_over() -> None:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "a" * 40}) as archive:
        archive.addfile(tarfile.TarInfo("a"))

    assert unpack(gzip.compress(body.getvalue())) == {"a": b""}


@pytest.mark.parametrize(
    "path", ["../evil", "a/../../evil", "a/..", "..", "/etc/passwd", "a\\b", "//x", "a/../b"], ids=repr
)
@pytest.mark.parametrize("write", [lambda path: tgz({path: b"x"}), lambda path: gzip.compress(entry(path))])
def test_a_path_that_leaves_the_folder_is_refused(path: str, write: Callable[[str], bytes]) -> None:
    assert refusal(write(path)) == f"tar contained invalid name error {path!r}"


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (b"V", "of an unknown type"),
    ],
)
def test_an_entry_that_is_no_file_is_refused(type_: bytes, kind: str) -> None:
    assert refusal(gzip.compress(entry("x", type_))) == f"tar file entry 'x' is {kind}"


def test_a_sparse_file_of_the_newer_form_is_refused() -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1099511627776"}

    assert "sparse" in refusal(gzip.compress(info.tobuf(tarfile.PAX_FORMAT)))


@pytest.mark.parametrize("files", [{"a": b"", "a/b": b""}, {"a/b/c": b"", "a": b"", "z": b""}])
def test_a_file_that_is_a_folder_too_is_refused(files: Mapping[str, bytes]) -> None:
    assert refusal(tgz(files)) == "the archive cannot be kept: 'a' is a file and a folder"


@pytest.mark.parametrize("path", ["a/" * 101 + "x", "x" * 256, "/".join(["y" * 250] * 17)])
def test_a_path_that_is_too_long_or_too_deep_is_refused(path: str) -> None:
    assert refusal(tgz({path: b""})).endswith("is too long or too deep")


def test_a_gzip_bomb_costs_its_limit_and_no_more() -> None:
    """Sixteen gigabytes of zeros are sixteen megabytes; what is unpacked of them is a bounded number of pieces."""
    piece = gzip.compress(entry("x", size=1 << 40) + b"\0" * (16 << 20))
    unpacking = Unpacking(ArchiveLimits(file_bytes=1 << 50, total_bytes=4 << 20))

    tracemalloc.start()
    with pytest.raises(ArchiveInvalid, match="is larger than 4194304 bytes when it is unpacked"):
        unpacking.feed(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 32 << 20


def test_a_million_entries_are_refused_at_the_limit() -> None:
    unpacking = Unpacking(ArchiveLimits(entries=5000))
    thousand = gzip.compress(entry("a") * 1000)
    for _ in range(5):
        unpacking.feed(thousand)

    with pytest.raises(ArchiveInvalid, match="has more than 5000 entries"):
        unpacking.feed(thousand)


def test_members_of_gzip_that_hold_nothing_count_as_entries_do() -> None:
    assert refusal(gzip.compress(b"") * 1002, ArchiveLimits(entries=1000)).endswith("more than 1000 members of gzip")


def test_folders_count_as_entries_do() -> None:
    files = {f"{number}/{'d/' * 50}x": b"" for number in range(100)}

    assert (
        refusal(tgz(files), ArchiveLimits(entries=1000))
        == "the archive cannot be kept: there are more than 1000 folders"
    )


def test_a_file_larger_than_a_file_may_be_is_refused_before_it_is_read() -> None:
    limits = ArchiveLimits(file_bytes=100)

    assert refusal(gzip.compress(entry("x", size=101)), limits) == "'x' has 101 bytes, the limit is 100"


def test_an_extended_header_of_gigabytes_is_refused_before_it_is_read() -> None:
    for type_ in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE):
        assert "extended header of 4294967296 bytes" in refusal(gzip.compress(entry("x", type_, size=1 << 32)))


@pytest.mark.parametrize("body", [b"7 a=b", b"6 ab\n", b"999 path=x\n", b"x path=y\n", b"9 size=-1\n"])
def test_an_extended_header_that_is_none_is_refused(body: bytes) -> None:
    archive = gzip.compress(entry("x", tarfile.XHDTYPE, body) + entry("y"))

    assert refusal(archive) == "tar error: invalid extended header"


@pytest.mark.parametrize(
    ("archive", "cause"),
    [
        (b"", "requires gzip-compressed body: EOF"),
        (b"just text\n", "requires gzip-compressed body: gzip: invalid header"),
        (tar({"a": b"1"}), "requires gzip-compressed body: gzip: invalid header"),
        (pack(b"no tar" * 200), "tar error: invalid tar header"),
        (pack(tar({"a": b"1" * 9000}))[:-30], "tar error: unexpected EOF"),
        (pack(entry("a", size=100)), "tar error: unexpected EOF"),
        (pack(entry("a", size=600) + b"1" * 512), "tar error: unexpected EOF"),
        (pack(entry("a")[:200]), "tar error: unexpected EOF"),
        (pack(entry("a", body=b"1" * 512))[:-6] + b"\0" * 6, "gzip: the data is corrupt"),
    ],
)
def test_what_is_no_archive_or_not_all_of_one_is_refused(archive: bytes, cause: str) -> None:
    assert refusal(archive) == cause


def test_a_negative_size_is_refused() -> None:
    header = bytearray(entry("x"))
    header[124:136] = b"\xff" * 12
    header[148:156] = b"%06o\0 " % sum(header[:148] + b" " * 8 + header[156:])

    assert refusal(gzip.compress(bytes(header))) == "tar error: a negative number in a header"
