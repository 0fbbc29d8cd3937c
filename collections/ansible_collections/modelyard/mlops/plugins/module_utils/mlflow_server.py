# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""An MLflow server as a container: what its options mean to it, and what a container says of the server in it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import typing as t
from dataclasses import replace
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from .container import SPEC_LABEL, ContainerError, Spec, parse_size
from .image_key import ImageError, check_fixed
from .mlflow_database import Database, Postgresql, Sqlite
from .option_check import Check, OptionError, check_count, problems
from .service import Verify

CONTAINER = "modelyard-mlflow"
_DATA = "/data"
_SECRETS = "/run/secrets/mlflow"
_SOCKET = "/run/postgresql"
_CA = "/run/postgresql-ca.pem"
_PASSFILE = "pgpass"
_CREDENTIALS = "aws"
_PORT = 5000

# Says which schema an image's MLflow wants and which older ones it can upgrade, without importing MLflow (12 s).
REVISIONS = """
import importlib.util, json, os
from alembic.script import ScriptDirectory
package = importlib.util.find_spec("mlflow").submodule_search_locations[0]
scripts = ScriptDirectory(os.path.join(package, "store", "db_migrations"))
print(json.dumps({"head": scripts.get_current_head(), "known": [one.revision for one in scripts.walk_revisions()]}))
"""

Options = t.Mapping[str, t.Any]


class ServerError(Exception):
    """The server cannot be described, or is not there; the message names the option and says what to do."""


def check(options: Options) -> None:
    """Refuse options that contradict each other or that MLflow would refuse.

    :raises ServerError: with the name of the role's variable.
    """
    postgresql, s3 = options["postgresql"], options["s3"]
    prefix = options["prefix"]
    if prefix and (not prefix.startswith("/") or prefix.endswith("/") or set("{} ") & set(prefix)):
        raise ServerError(f"mlflow_prefix: '{prefix}' must begin with a / and not end with one, or be empty")
    checks = [
        Check("mlflow_workers", check_count, options["workers"]),
        Check("mlflow_backup_keep", check_count, options["keep"]),
        Check("mlflow_image", check_fixed, options["image"]),
        Check("mlflow_memory", parse_size, options["memory"]),
    ]
    wrong = problems(checks, OptionError, ImageError, ContainerError)
    if wrong:
        raise ServerError("; ".join(wrong))
    if postgresql["password"] and not postgresql["host"]:
        raise ServerError("mlflow_postgresql: it has a password and no host: name the host, or the socket's folder")
    if s3["access_key_id"] and not s3["bucket"]:
        raise ServerError("mlflow_s3: it has an access_key_id and no bucket: name the bucket")
    if bool(s3["access_key_id"]) != bool(s3["secret_access_key"]):
        raise ServerError("mlflow_s3: access_key_id and secret_access_key belong together: give both, or none")


def describe(options: Options, image: str, secrets_folder: str) -> Spec:
    """The container that the options describe.

    :param image: what the engine calls the image.
    :param secrets_folder: where on the host the files of `secret_files` are; empty without any.
    """
    postgresql, s3 = options["postgresql"], options["s3"]
    prefix, hosts = options["prefix"], options["allowed_hosts"]
    env = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{_DATA}/mlflow.db",
        "MLFLOW_ARTIFACTS_DESTINATION": f"{_DATA}/artifacts",
        "MLFLOW_SERVE_ARTIFACTS": "true",
        "MLFLOW_HOST": "0.0.0.0",  # in the container; the host publishes it on its loopback address
        "MLFLOW_PORT": str(_PORT),
        "MLFLOW_WORKERS": str(options["workers"]),
        "MLFLOW_STATIC_PREFIX": prefix,
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(["localhost:*", "127.0.0.1:*", *hosts]),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"https://{host}" for host in hosts),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its runners are processes that nothing here uses
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HOME": "/tmp",  # no home on a read-only root file system
    }
    mounts = {_DATA: options["data"]}
    if not prefix:
        del env["MLFLOW_STATIC_PREFIX"]
    if secrets_folder:
        mounts[_SECRETS] = secrets_folder
    if postgresql["host"]:
        env.update(_postgresql_environment(postgresql))
        if postgresql["host"].startswith("/"):
            mounts[_SOCKET] = postgresql["host"]
        if postgresql["ca_path"]:
            mounts[_CA] = postgresql["ca_path"]
    if s3["bucket"]:
        env.update(_s3_environment(s3))
    return Spec(
        image=image,
        env=env,
        mounts=mounts,
        writable=(_DATA,),
        ports={options["port"]: _PORT},
        user=f"{options['uid']}:{options['uid']}",
        memory=parse_size(options["memory"]),
        restart="unless-stopped",
    )


def _postgresql_environment(postgresql: Options) -> dict[str, str]:
    local = postgresql["host"].startswith("/")
    query = {"host": _SOCKET, "port": str(postgresql["port"])} if local else {"sslmode": postgresql["sslmode"]}
    if postgresql["ca_path"]:
        query["sslrootcert"] = _CA
    address = "" if local else f"{postgresql['host']}:{postgresql['port']}"
    user, database = quote(postgresql["user"], safe=""), quote(postgresql["database"], safe="")
    # The driver is named, as another is the default of some versions of SQLAlchemy.
    uri = f"postgresql+psycopg2://{user}@{address}/{database}?{urlencode(query)}"
    environment = {"MLFLOW_BACKEND_STORE_URI": uri}
    if postgresql["password"]:
        # A file, which libpq reads itself: the engine shows everybody what is in the environment.
        environment["PGPASSFILE"] = f"{_SECRETS}/{_PASSFILE}"
    return environment


def _s3_environment(s3: Options) -> dict[str, str]:
    prefix = s3["prefix"].strip("/")
    environment = {
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{s3['bucket']}" + (f"/{prefix}" if prefix else ""),
        "MLFLOW_S3_ENDPOINT_URL": s3["endpoint_url"],
        "AWS_DEFAULT_REGION": s3["region"],
        "AWS_SHARED_CREDENTIALS_FILE": f"{_SECRETS}/{_CREDENTIALS}" if s3["access_key_id"] else "",
    }
    return {name: value for name, value in environment.items() if value}


def secret_files(options: Options) -> dict[str, str]:
    """The files with secrets that the server reads, by name; each is in the form that the library wants."""
    postgresql, s3 = options["postgresql"], options["s3"]
    files = {}
    if postgresql["host"] and postgresql["password"]:
        escaped = [
            value.replace("\\", "\\\\").replace(":", "\\:") for value in (postgresql["user"], postgresql["password"])
        ]
        files[_PASSFILE] = "*:*:*:" + ":".join(escaped) + "\n"
    if s3["bucket"] and s3["access_key_id"]:
        files[_CREDENTIALS] = (
            f"[default]\naws_access_key_id = {s3['access_key_id']}\naws_secret_access_key = {s3['secret_access_key']}\n"
        )
    return files


class SecretFolders:
    """Folders with the secrets of a server, one for each version of them: what runs keeps those that it began with.

    :param root: folder of the folders, which only root can enter.
    :param owner: the number of the user that reads them in the container.
    """

    def __init__(self, root: str, owner: int) -> None:
        self._root, self._owner = root, owner

    def find(self, files: dict[str, str]) -> str:
        """The folder with exactly these files, empty if there is none."""
        for path in self._all():
            with contextlib.suppress(OSError):
                if {name: _read(os.path.join(path, name)) for name in os.listdir(path)} == files:
                    return path
        return ""

    def write(self, files: dict[str, str]) -> str:
        """Have a folder with these files; returns its path, empty without files."""
        if not files:
            return ""
        found = self.find(files)
        if found:
            return found
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        # The name tells nothing of the content: the engine shows it to everybody.
        path = os.path.join(self._root, f"secrets-{secrets.token_hex(4)}")
        os.mkdir(path, mode=0o700)
        for name, text in files.items():
            with open(os.path.join(path, name), "w", encoding="utf-8", opener=_private) as file:
                file.write(text)
            os.chown(os.path.join(path, name), self._owner, self._owner)
        os.chown(path, self._owner, self._owner)
        return path

    def prune(self, used: str) -> None:
        """Delete all folders but one."""
        for path in self._all():
            if path != used:
                shutil.rmtree(path)

    def _all(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [
                os.path.join(self._root, name) for name in sorted(os.listdir(self._root)) if name.startswith("secrets-")
            ]
        return []


class Server:
    """A server, as its container's description has it.

    :ivar data: the folder of the host with its data.
    :ivar owner: the number of the user and group that it runs as.
    :ivar artifacts: the folder of the artifacts on the host; empty when they are in S3.
    """

    def __init__(self, body: t.Mapping[str, t.Any]) -> None:
        settings = body["HostConfig"]
        self._image, self._memory = body["Image"], settings["Memory"]
        self._env = dict(one.split("=", 1) for one in body["Env"])
        self._mounts = {mount["Target"]: mount["Source"] for mount in settings["Mounts"]}
        self.data = self._mounts[_DATA]
        self.owner = int(body["User"].partition(":")[0])
        local = self._env["MLFLOW_ARTIFACTS_DESTINATION"].startswith(_DATA)
        self.artifacts = os.path.join(self.data, "artifacts") if local else ""
        self._port = int(next(iter(settings["PortBindings"].values()))[0]["HostPort"])
        self.url = f"http://127.0.0.1:{self._port}{self._env.get('MLFLOW_STATIC_PREFIX', '')}"

    @classmethod
    def of_container(cls, found: t.Mapping[str, t.Any] | None) -> Server:
        """The server in a container of this collection, as the engine describes it.

        :raises ServerError: there is no such container.
        """
        label = ((found or {}).get("Config", {}).get("Labels") or {}).get(SPEC_LABEL)
        if label is None:
            raise ServerError(
                f"the host has no container {CONTAINER} of this collection: let the role mlflow make the server first"
            )
        return cls(json.loads(label))

    @property
    def secrets_folder(self) -> str:
        """Where on the host its secrets are; empty without any."""
        return str(self._mounts.get(_SECRETS, ""))

    @property
    def store(self) -> str:
        """The address of the database, as the server has it; there is no password in it."""
        return str(self._env["MLFLOW_BACKEND_STORE_URI"])

    def spec(self, image: str = "") -> Spec:
        """The container that it runs in, from another image if one is named."""
        return Spec(
            image=image or self._image,
            env=self._env,
            mounts=self._mounts,
            writable=(_DATA,),
            ports={self._port: _PORT},
            user=f"{self.owner}:{self.owner}",
            memory=self._memory,
            restart="unless-stopped",
        )

    def once(self, *command: str, network: str = "bridge") -> Spec:
        """A container of the same image, user and data for one command."""
        spec = replace(self.spec(), entrypoint=command[:1], command=command[1:])
        return replace(spec, ports={}, network=network, restart="no")

    def database(self) -> Database:
        """Its database, as the host reaches it."""
        uri = urlsplit(self.store)
        if uri.scheme == "sqlite":
            return Sqlite(os.path.join(self.data, os.path.relpath(uri.path, "/" + _DATA)), self.owner)
        query = dict(parse_qsl(uri.query))
        environment = {
            "PGHOST": uri.hostname or self._mounts[_SOCKET],
            "PGPORT": str(uri.port or query["port"]),
            "PGUSER": unquote(uri.username or ""),
            "PGDATABASE": unquote(uri.path[1:]),
            "PGSSLMODE": query.get("sslmode", "prefer"),
            "PGSSLROOTCERT": self._mounts.get(_CA, ""),
            "PGPASSFILE": os.path.join(self.secrets_folder, _PASSFILE) if "PGPASSFILE" in self._env else "",
        }
        return Postgresql({name: value for name, value in environment.items() if value})

    def verify(self, timeout: int) -> Verify:
        """How it shows that it works: an answer that takes its prefix, its REST API and its database together."""
        return Verify(f"{self.url}/api/2.0/mlflow/experiments/search?max_results=1", "experiments", timeout)


def upgrade_needed(revision: str, image: t.Mapping[str, t.Any]) -> bool:
    """Whether an image has to upgrade the schema that a database is at.

    :param image: what REVISIONS says of it.
    :raises ServerError: the image is older than the database.
    """
    if revision == image["head"]:
        return False
    if revision and revision not in image["known"]:
        raise ServerError(
            f"mlflow_image: the database's schema is at revision {revision}, which this image's MLflow does not know "
            f"(its own is {image['head']}): a newer one has upgraded it. Deliver one that is not older, or go back "
            "with the playbook modelyard.mlops.restore, the backup from before that upgrade and mlflow_restore_image"
        )
    return True


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o400)
