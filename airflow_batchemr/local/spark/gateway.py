"""S3 as WebHDFS, so that Hadoop's standard jars can read and write the local S3.

Hadoop's ViewFileSystemOverloadScheme handles `s3://` and `s3a://` and delegates to its WebHDFS client, which calls this
gateway. Folders are prefixes; an empty folder is an object whose key ends in `/`.
Source: the WebHDFS REST API of Hadoop's documentation.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from airflow_batchemr.local import wire
from airflow_batchemr.local.protocol import Reply
from airflow_batchemr.local.upstream import StoredObject, Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PREFIX", "Gateway", "home"]

PREFIX = "/webhdfs/v1/"
BLOCK = 128 << 20
#: An empty Hadoop token: four empty fields.
NO_TOKEN = "AAAAAA"  # noqa: S105 (no secret)


@dataclass(frozen=True)
class ObjectPath:
    """A bucket and a key without leading and trailing slashes. The key is empty for the bucket itself."""

    bucket: str
    key: str

    @property
    def prefix(self) -> str:
        """Prefix of the keys below it."""
        return f"{self.key}/" if self.key else ""


class Gateway:
    """Responds to WebHDFS requests below `/webhdfs/v1/<access key>/`."""

    def __init__(self, key: str, upstream: Upstream) -> None:
        self._key = key
        self._upstream = upstream

    def answer(self, environ: dict[str, Any]) -> Reply:
        """Return the response to a request whose path starts with PREFIX and the access key."""
        path = environ["PATH_INFO"].encode("latin-1").decode()[len(PREFIX) + len(self._key) :].strip("/")
        query = {name.lower(): values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        place = ObjectPath(*(path.partition("/")[::2]))
        operation = query.get("op", "").upper()
        try:
            if operation == "CREATE":
                return self._create(environ, place, query)
            if operation == "OPEN":
                return self._open(place, query)
            methods = {
                "GETFILESTATUS": self._status,
                "LISTSTATUS": self._list,
                "GETCONTENTSUMMARY": self._summary,
                "MKDIRS": self._mkdirs,
                "RENAME": self._rename,
                "DELETE": self._delete,
                "GET_BLOCK_LOCATIONS": self._blocks,
                "GETFILEBLOCKLOCATIONS": self._block_locations,
            }
            if operation in methods:
                return _json(methods[operation](place, query))
            if operation in ("SETPERMISSION", "SETOWNER", "SETTIMES", "SETREPLICATION"):
                return Reply(200, b"")
            return _exception(400, "UnsupportedOperationException", f"{operation} is not possible on S3")
        except FileNotFoundError as error:
            return _exception(404, "FileNotFoundException", f"File does not exist: {error}")
        except FileExistsError as error:
            return _exception(403, "FileAlreadyExistsException", str(error))
        except UpstreamError as error:
            if error.status == 404:
                return _exception(404, "FileNotFoundException", f"File does not exist: {place.bucket}/{place.key}")
            return _exception(500, "IOException", str(error))

    # Status

    def _find(self, place: ObjectPath) -> dict[str, Any] | None:
        """Return the FileStatus of a file or folder; None if it does not exist."""
        if not place.key:
            return _folder("")
        listed = self._upstream.list_objects(place.bucket, place.key, limit=1000)
        for found in listed:
            if found.key == place.key:
                return _file("", found)
        if any(found.key.startswith(place.prefix) for found in listed):
            return _folder("")
        # Other keys with the same prefix can fill the page
        return _folder("") if self._upstream.list_objects(place.bucket, place.prefix, limit=1) else None

    def _status(self, place: ObjectPath, _query: dict[str, str]) -> dict[str, Any]:
        found = self._find(place)
        if found is None:
            raise FileNotFoundError(f"{place.bucket}/{place.key}")
        return {"FileStatus": found}

    def _list(self, place: ObjectPath, query: dict[str, str]) -> dict[str, Any]:
        status = self._status(place, query)["FileStatus"]
        if status["type"] == "FILE":
            return {"FileStatuses": {"FileStatus": [status]}}
        entries: dict[str, dict[str, Any]] = {}
        for found in self._upstream.list_objects(place.bucket, place.prefix):
            name, slash, _ = found.key[len(place.prefix) :].partition("/")
            if name:
                entries[name] = _folder(name) if slash else _file(name, found)
        return {"FileStatuses": {"FileStatus": list(entries.values())}}

    def _summary(self, place: ObjectPath, _query: dict[str, str]) -> dict[str, Any]:
        files = [each for each in self._below(place) if not each.key.endswith("/")]
        size = sum(each.size for each in files)
        return {
            "ContentSummary": {
                "directoryCount": 1, "fileCount": len(files), "length": size, "quota": -1, "spaceConsumed": size,
                "spaceQuota": -1,
            }
        }  # fmt: skip

    def _blocks(self, place: ObjectPath, query: dict[str, str]) -> dict[str, Any]:
        """Return the whole file as one block, without locations."""
        length = self._status(place, query)["FileStatus"]["length"]
        block = {
            "block": {"blockPoolId": "s3", "blockId": 1, "numBytes": length, "generationStamp": 1},
            "blockToken": {"urlString": NO_TOKEN}, "isCorrupt": False, "startOffset": 0, "locations": [],
            "cachedLocations": [], "storageTypes": [],
        }  # fmt: skip
        located = {"fileLength": length, "isUnderConstruction": False, "isLastBlockComplete": True}
        return {"LocatedBlocks": {**located, "locatedBlocks": [block], "lastLocatedBlock": block}}

    def _block_locations(self, place: ObjectPath, query: dict[str, str]) -> dict[str, Any]:
        """Return the same in the format that newer clients request."""
        nothing: dict[str, list[str]] = {
            key: [] for key in ("hosts", "names", "topologyPaths", "cachedHosts", "storageTypes")
        }
        length = self._status(place, query)["FileStatus"]["length"]
        return {"BlockLocations": {"BlockLocation": [{**nothing, "offset": 0, "length": length, "corrupt": False}]}}

    def _below(self, place: ObjectPath) -> list[StoredObject]:
        """Return the file itself, or all objects of a folder."""
        listed = self._upstream.list_objects(place.bucket, place.key)
        return [each for each in listed if each.key == place.key or each.key.startswith(place.prefix)]

    # Reading and writing

    def _open(self, place: ObjectPath, query: dict[str, str]) -> Reply:
        start = int(query.get("offset", 0))
        end = start + int(query["length"]) - 1 if "length" in query else ""
        content = self._upstream.get_object(place.bucket, place.key, f"bytes={start}-{end}" if start or end else None)
        return Reply(200, content, (("Content-Type", "application/octet-stream"),))

    def _create(self, environ: dict[str, Any], place: ObjectPath, query: dict[str, str]) -> Reply:
        if "data" not in query:
            # The client first requests the location, without sending data
            found = self._find(place)
            if found is not None and (found["type"] == "DIRECTORY" or query.get("overwrite") == "false"):
                raise FileExistsError(f"{place.bucket}/{place.key} already exists")
            path = quote(f"{PREFIX}{self._key}/{place.bucket}/{place.key}")
            location = f"http://{environ['HTTP_HOST']}{path}?op=CREATE&data=true"
            return Reply(307, b"", (("Location", location),))
        self._upstream.put_object(place.bucket, place.key, wire.body(environ))
        return Reply(201, b"")

    def _mkdirs(self, place: ObjectPath, _query: dict[str, str]) -> dict[str, Any]:
        found = self._find(place)
        if found is None:
            self._upstream.put_object(place.bucket, place.prefix, b"")
        return {"boolean": found is None or found["type"] == "DIRECTORY"}

    def _rename(self, place: ObjectPath, query: dict[str, str]) -> dict[str, Any]:
        bucket, _, key = query["destination"].strip("/")[len(self._key) :].strip("/").partition("/")
        target = ObjectPath(bucket, key)
        there = self._find(target)
        if there is not None and there["type"] == "DIRECTORY":
            target = ObjectPath(bucket, target.prefix + place.key.rpartition("/")[2])
            there = self._find(target)
        objects = self._below(place)
        if there is not None or not objects:
            return {"boolean": False}
        for each in objects:
            self._upstream.copy_object(place.bucket, each.key, target.bucket, target.key + each.key[len(place.key) :])
        self._remove(place.bucket, objects)
        return {"boolean": True}

    def _delete(self, place: ObjectPath, query: dict[str, str]) -> dict[str, Any]:
        objects = self._below(place)
        if query.get("recursive") != "true" and any(each.key not in (place.key, place.prefix) for each in objects):
            raise FileExistsError(f"{place.bucket}/{place.key} is not empty")
        self._remove(place.bucket, objects)
        return {"boolean": bool(objects)}

    def _remove(self, bucket: str, objects: Iterable[StoredObject]) -> None:
        for each in objects:
            self._upstream.delete_object(bucket, each.key)


def home(environ: dict[str, Any]) -> Reply | None:
    """Return the home folder if a request is for it. The client requests it at the root, so its path has no key."""
    asked = parse_qs(environ.get("QUERY_STRING", "")).get("op") == ["GETHOMEDIRECTORY"]
    return _json({"Path": "/user/hadoop"}) if asked and environ["PATH_INFO"] == PREFIX else None


def _file(name: str, found: StoredObject) -> dict[str, Any]:
    return _entry(name, "FILE", found.size, found.modified)


def _folder(name: str) -> dict[str, Any]:
    return _entry(name, "DIRECTORY", 0, int(time.time() * 1000))


def _entry(name: str, kind: str, size: int, modified: int) -> dict[str, Any]:
    file = kind == "FILE"
    return {
        "pathSuffix": name, "type": kind, "length": size, "modificationTime": modified, "accessTime": modified,
        "blockSize": BLOCK if file else 0, "replication": 1 if file else 0, "permission": "644" if file else "755",
        "owner": "hadoop", "group": "hadoop", "childrenNum": 0, "storagePolicy": 0,
        "fileId": int(hashlib.sha256(name.encode()).hexdigest()[:8], 16),
    }  # fmt: skip


def _json(content: dict[str, Any]) -> Reply:
    # No content type, because Hadoop's client rejects one with a charset.
    return Reply(200, json.dumps(content).encode())


def _exception(status: int, name: str, message: str) -> Reply:
    package = "org.apache.hadoop.fs" if name == "FileAlreadyExistsException" else "java.io"
    if name == "UnsupportedOperationException":
        package = "java.lang"
    remote = {"exception": name, "javaClassName": f"{package}.{name}", "message": message}
    return Reply(status, json.dumps({"RemoteException": remote}).encode())
