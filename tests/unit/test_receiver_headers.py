"""Headers for a backend: from a file that is ours, within bounds, and shown by nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from uplink.receiver.headers import MAX_BYTES, MAX_HEADERS, Headers, HeadersError, HeadersFile

KEY = "canary-9f1c"


def written(directory: Path, text: str, mode: int = 0o600) -> HeadersFile:
    path = directory / "headers"
    path.write_text(text)
    path.chmod(mode)
    return HeadersFile(path)


def test_lines_comments_and_spaces_are_read(tmp_path: Path) -> None:
    file = written(tmp_path, f"# of the backend\n\nX-Api-Key:  {KEY} \r\nAuthorization: Bearer a:b=c d\n")
    assert file.read().values == {"x-api-key": KEY, "authorization": "Bearer a:b=c d"}
    (tmp_path / "link").symlink_to(file.path)  # as Secrets are mounted
    assert HeadersFile(tmp_path / "link").read() == file.read()
    assert written(tmp_path, "").read() == Headers()


def test_no_value_is_shown(tmp_path: Path) -> None:
    found = written(tmp_path, f"x-api-key: {KEY}\n").read()
    assert KEY not in f"{found!r}{found}{found.masked}"
    assert found.masked == {"x-api-key": "***"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (KEY, "line 1: has to be `Name: value`"),
        (f"ok: ok\n: {KEY}", "line 2"),
        (f"x y: {KEY}", "line 1"),
        (f"x:{KEY}\x00", "line 1"),
        (f"x: {KEY}é", "line 1"),
        ("x: ", "line 1"),
        (f" x: {KEY}", "line 1"),
        (f"x: {KEY}\nX: {KEY}", "line 2: this header is there already"),
        (f"Content-Length: {KEY}", "set by the receiver itself"),
        (f"Host: {KEY}", "set by the receiver itself"),
        ("".join(f"x{n}: {KEY}\n" for n in range(MAX_HEADERS + 1)), f"more than {MAX_HEADERS}"),
        (KEY * MAX_BYTES, "larger than"),
    ],
)
def test_what_makes_no_sense_is_named_by_its_line_and_not_quoted(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(HeadersError, match=says) as caught:
        written(tmp_path, text).read()
    assert str(tmp_path / "headers") in str(caught.value)
    assert KEY not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__!r}"


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o602])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(HeadersError, match=f"{mode:04o}"):
        written(tmp_path, f"x: {KEY}", mode).read()
    assert written(tmp_path, f"x: {KEY}", 0o440).read().values == {"x": KEY}


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HeadersError, match="does not exist"):
        HeadersFile(tmp_path / "nowhere").read()
