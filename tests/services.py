"""PostgreSQL, an S3 server and MLflow's own server with passwords, as in production, on free ports.

    with postgres() as database, s3() as store, mlflow(database, store, folder) as uri: ...

PostgreSQL comes with `apt-get install postgresql`; without it, tests skip.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import boto3
import psycopg
import pytest
import requests
from psycopg import sql

PASSWORD = "pass word/1"
ADMIN = "a long admin password"
BUCKET = "runs"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret key"}
SECONDS = 300  # for a server to answer, on a busy machine


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def programs() -> Path:
    """Where PostgreSQL's programs are; Debian keeps them off PATH."""
    places = [Path(place) for place in [shutil.which("initdb")] if place]
    found = [place.parent for place in places]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1]


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert server.poll() is None, "the server has ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(port)


@contextmanager
def started(command: list[str], port: int, **options: object) -> Iterator[None]:
    """Run a server, in a group of its own, until the block ends."""
    server = subprocess.Popen(command, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        wait_for(port, server)
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@contextmanager
def postgres() -> Iterator[str]:
    """Run a database cluster of its own; gives the URL of an empty database."""
    place = programs()
    owner = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}  # root may not
    folder = Path(tempfile.mkdtemp(prefix="birnn-postgres-", dir="/tmp"))
    try:
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        if owner:
            for path in (folder, folder / "password"):
                shutil.chown(path, **owner)
        data, port = str(folder / "data"), free_port()
        command = [str(place / "initdb"), "-D", data, "-U", "birnn", "--no-sync"]
        command += ["-E", "UTF8", "--no-locale", "-A", "scram-sha-256"]
        command += ["--pwfile", str(folder / "password")]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        subprocess.run(command, check=True, **owner, **quiet)  # type: ignore[call-overload]
        server = [str(place / "postgres"), "-D", data, "-p", str(port), "-F"]
        server += ["-h", "127.0.0.1", "-k", str(folder)]
        with started(server, port, **owner, **quiet):
            yield f"postgresql://birnn:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def another(database: str, name: str) -> str:
    """Make a further database in a cluster, and give its URL."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"{database.rpartition('/')[0]}/{name}"


@contextmanager
def s3() -> Iterator[str]:
    """Run an S3 server with an empty bucket; gives its address."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with started(command, port, **quiet):
        address = f"http://127.0.0.1:{port}"
        bucket(address).create()
        yield address


def keys(address: str) -> dict[str, str]:
    """What the environment says of an S3 server to those who use it."""
    return {**KEYS, "AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"}


def bucket(address: str) -> "boto3.resources.base.ServiceResource":
    keys = {name.lower(): value for name, value in KEYS.items()}
    resource = boto3.resource("s3", endpoint_url=address, region_name="us-east-1", **keys)
    return resource.Bucket(BUCKET)


@contextmanager
def mlflow(database: str, address: str, folder: Path) -> Iterator[str]:
    """Run MLflow's server, which alone knows the keys of S3; gives its address."""
    config, port = folder / "auth.ini", free_port()
    config.write_text(
        "[mlflow]\ndefault_permission = EDIT\nadmin_username = admin\n"
        f"admin_password = {ADMIN}\ndatabase_uri = sqlite:///{folder}/auth.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 60\n",
        encoding="utf-8",
    )
    environment = _clean(os.environ) | KEYS
    environment |= {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "any",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_S3_ENDPOINT_URL": address,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
    command += ["--backend-store-uri", database, "--artifacts-destination", f"s3://{BUCKET}"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    with (folder / "server.log").open("wb") as log:
        options = {"env": environment, "cwd": folder, "stdout": log, "stderr": log}
        with started(command, port, **options):
            _answers(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}"


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("MLFLOW")}


def _answers(address: str) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            requests.get(address, timeout=5).raise_for_status()
        except requests.RequestException:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(address)
