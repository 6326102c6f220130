"""Debian packages as data: downloaded, checked against apt's metadata, unpacked, never installed.

Files are cached under ${XDG_CACHE_HOME:-~/.cache}/plumbline/packages, so that a second clone does
not fetch them again. Needs apt and dpkg-deb, no root; root (or sudo without a password) is only
used to refresh apt's lists when they do not know a package.
"""

import dataclasses
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

ATTEMPTS = 4


class BuildError(Exception):
    """A reason to stop: one sentence with the place, the values and a hint."""


@dataclasses.dataclass(frozen=True)
class Package:
    name: str
    version: str
    bytes: int
    sha256: str
    file: Path


def default_cache():
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "plumbline" / "packages"


def sha256_of_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def metadata(name, cache):
    """The candidate version of a package as apt's lists describe it, or None if they do not."""
    shown = subprocess.run(["apt-cache", "show", "--no-all-versions", name],
                           capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    fields = dict(line.split(": ", 1) for line in shown.stdout.splitlines()
                  if ": " in line and not line.startswith(" "))
    if "SHA256" not in fields:
        return None
    # apt-get names the file by the version, with the colon of an epoch escaped.
    version = fields["Version"]
    file = f"{name}_{version.replace(':', '%3a')}_{fields['Architecture']}.deb"
    return Package(name, version, int(fields["Size"]), fields["SHA256"], cache / file)


def refresh_lists():
    command = ["apt-get", "-qq", "update"]
    if os.geteuid() != 0:
        command = ["sudo", "-n"] + command
    try:
        subprocess.run(command, check=False)
    except OSError:
        pass  # neither root nor sudo: the caller reports what the lists lack


def is_intact(package):
    return (package.file.exists() and package.file.stat().st_size == package.bytes
            and sha256_of_file(package.file) == package.sha256)


def download(packages, cache):
    """One call of apt-get for all; what it could not bring is seen by the caller's check."""
    for package in packages:
        package.file.unlink(missing_ok=True)
    # As root, apt would drop to a user who may not write here, and warn about it.
    sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    subprocess.run(["apt-get", "-qq", *sandbox, "-o", "Acquire::Retries=3", "download",
                    *(f"{p.name}={p.version}" for p in packages)], cwd=cache, check=False)


def known_packages(names, cache):
    """{name: Package} by apt's lists, which are refreshed once when they lack one."""
    for refreshed in (False, True):
        known = {name: metadata(name, cache) for name in names}
        unknown = [name for name, package in known.items() if package is None]
        if not unknown:
            return known
        if not refreshed:
            refresh_lists()
    raise BuildError(f"apt does not know {', '.join(unknown)}; run `apt-get update` as root "
                     "(the testbed is made from Debian 12)")


def fetch(names, cache):
    """Returns {name: Package} with every file present and intact. Raises BuildError."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at once share one download
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(2 ** attempt)
                refresh_lists()  # a file that left the mirror has a successor in newer lists
            known = known_packages(names, cache)
            missing = [p for p in known.values() if not is_intact(p)]
            if missing:
                megabytes = sum(p.bytes for p in missing) / 1e6
                print(f"downloading {len(missing)} packages, {megabytes:.0f} MB", file=sys.stderr)
                download(missing, cache)
                missing = [p for p in missing if not is_intact(p)]
            if not missing:
                return known
    raise BuildError(f"downloading {', '.join(p.file.name for p in missing)} failed after "
                     f"{ATTEMPTS} attempts; check the network and run `apt-get update`")


def unpack(package, folder):
    """Extracts a package under `folder`/NAME-VERSION unless that is already there; returns it."""
    target = folder / f"{package.name}-{package.version.replace(':', '_')}"
    if not target.exists():
        partial = target.with_name(target.name + f".{os.getpid()}.tmp")
        partial.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "-x", str(package.file), str(partial)], check=True)
        partial.rename(target)
    return target
