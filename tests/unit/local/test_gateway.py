"""S3 as WebHDFS: requests of Hadoop's client, and their effect on objects."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batchemr.local.spark.gateway import PREFIX, Gateway, home
from airflow_batchemr.local.upstream import Upstream

KEY = "LKIA1"


@pytest.fixture(scope="module")
def upstream():
    return Upstream()


@pytest.fixture
def store(upstream):
    """Moto with an empty bucket `data`."""
    upstream.reset()
    upstream.s3("PUT", "/data")
    return upstream


def ask(store, path, op, body=b"", **query):
    words = "&".join([f"op={op}", *(f"{name}={value}" for name, value in query.items())])
    environ = {
        "PATH_INFO": f"{PREFIX}{KEY}/{path}", "QUERY_STRING": words, "HTTP_HOST": "127.0.0.1:1",
        "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)),
    }  # fmt: skip
    return Gateway(KEY, store).answer(environ)


def answer(store, path, op, **query):
    return json.loads(ask(store, path, op, **query).body)


def names(store, path):
    found = answer(store, path, "LISTSTATUS")["FileStatuses"]["FileStatus"]
    return [(each["pathSuffix"], each["type"]) for each in found]


def keys(store):
    return [each.key for each in store.list_objects("data", "")]


def test_prefixes_are_listed_as_folders(store):
    """One level per listing. A file lists itself."""
    for key in ("a/b/1", "a/2", "ab"):
        store.put_object("data", key, b"xyz")
    assert names(store, "data") == [("a", "DIRECTORY"), ("ab", "FILE")]
    assert sorted(names(store, "data/a/")) == [("2", "FILE"), ("b", "DIRECTORY")]
    assert names(store, "data/ab") == [("", "FILE")]
    assert answer(store, "data/ab", "GETFILESTATUS")["FileStatus"]["length"] == 3
    assert answer(store, "data/a", "GETFILESTATUS")["FileStatus"]["type"] == "DIRECTORY"


def test_a_missing_file_is_a_remote_exception(store):
    """Hadoop's client turns its class into FileNotFoundException. The same applies to a missing bucket."""
    for path in ("data/none", "none/x"):
        reply = ask(store, path, "GETFILESTATUS")
        assert (reply.status, json.loads(reply.body)["RemoteException"]["javaClassName"]) == (
            404,
            "java.io.FileNotFoundException",
        )


def test_a_file_is_written_in_two_steps(store):
    """The response to the first request redirects to the URL for the data."""
    first = ask(store, "data/a b", "CREATE", overwrite="true")
    assert first.status == 307
    assert dict(first.headers)["Location"] == f"http://127.0.0.1:1{PREFIX}{KEY}/data/a%20b?op=CREATE&data=true"
    assert ask(store, "data/a b", "CREATE", body=b"content", data="true").status == 201
    assert ask(store, "data/a b", "OPEN").body == b"content"
    assert ask(store, "data/a b", "OPEN", offset=2, length=3).body == b"nte"
    assert ask(store, "data/a b", "OPEN", offset=4).body == b"ent"


def test_an_existing_file_is_not_overwritten_by_default(store):
    """The response is a 403 with Hadoop's exception."""
    store.put_object("data", "a", b"1")
    reply = ask(store, "data/a", "CREATE", overwrite="false")
    assert (reply.status, json.loads(reply.body)["RemoteException"]["exception"]) == (403, "FileAlreadyExistsException")


def test_rename_moves_a_folder(store):
    """To a new name, or into an existing folder, but never over a file."""
    store.put_object("data", "out/_temporary/0/part", b"1")
    assert answer(store, "data/out/_temporary/0", "RENAME", destination=f"/{KEY}/data/out/final") == {"boolean": True}
    assert keys(store) == ["out/final/part"]
    store.put_object("data", "there/x", b"1")
    answer(store, "data/out/final", "RENAME", destination=f"/{KEY}/data/there")
    assert keys(store) == ["there/final/part", "there/x"]
    assert answer(store, "data/there/x", "RENAME", destination=f"/{KEY}/data/there/final/part") == {"boolean": False}
    assert answer(store, "data/none", "RENAME", destination=f"/{KEY}/data/b") == {"boolean": False}


def test_a_folder_is_deleted_only_recursively(store):
    """Other folders are not affected."""
    for key in ("a/1", "a/2", "ab"):
        store.put_object("data", key, b"")
    assert ask(store, "data/a", "DELETE").status == 403
    assert answer(store, "data/a", "DELETE", recursive="true") == {"boolean": True}
    assert keys(store) == ["ab"]


def test_empty_folders_can_be_created(store):
    """A folder is an object whose key ends in a slash. It is not part of its own listing."""
    assert answer(store, "data/a", "MKDIRS") == {"boolean": True}
    assert names(store, "data/a") == []
    assert answer(store, "data/a", "GETFILESTATUS")["FileStatus"]["type"] == "DIRECTORY"
    assert ask(store, "data/a", "DELETE").status == 200
    assert keys(store) == []


def test_only_the_home_folder_is_available_without_a_key():
    """Hadoop's client requests it at the root."""
    at_root = {"PATH_INFO": PREFIX, "QUERY_STRING": "op=GETHOMEDIRECTORY&user.name=x"}
    assert home(at_root) is not None
    assert home({**at_root, "QUERY_STRING": "op=LISTSTATUS"}) is None
    assert home({**at_root, "PATH_INFO": PREFIX + "x/data"}) is None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("ab/ é%+", min_size=1, max_size=6), max_size=6))
def test_listing_every_folder_finds_every_object_once(upstream, texts):
    """For all keys that are valid paths of files."""
    upstream.reset()
    upstream.s3("PUT", "/data")
    wanted = set()
    for text in texts:
        key = "/".join(part for part in text.split("/") if part.strip())
        path = key.split("/")
        clash = any(other.startswith(key + "/") for other in wanted) or any(
            "/".join(path[:depth]) in wanted for depth in range(1, len(path))
        )
        if key and not clash:
            wanted.add(key)
            upstream.put_object("data", key, b"")

    def walk(folder):
        for name, kind in names(upstream, f"data/{folder}".encode().decode("latin-1")):
            path = f"{folder}/{name}" if folder else name
            if kind == "FILE":
                yield path
            else:
                yield from walk(path)

    assert sorted(wanted) == sorted(walk(""))
