"""The Dockerfile, judged by hadolint, and its steps run for real in the root of a clean Debian, without a container engine.

`dockerfile.py --binary GANTRY` takes GANTRY for what the build stage makes; `dockerfile.py --build` makes that too, with the
Rust toolchain of this machine in the place of the image `rust`, which takes as long as a release build does. Then the image is run
as an engine would: as its user, without privileges, its root read-only, by its ENTRYPOINT, watched by its HEALTHCHECK, ended by
SIGTERM. Needs root, and takes it by sudo.
"""

import argparse
import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

REPOSITORY = pathlib.Path(__file__).parents[2]
DEBIAN = REPOSITORY / ".peers/debian.tar"
CACHE = REPOSITORY / ".peers/docker-cache"
# Most bytes of everything in the image besides the program.
MOST_BESIDES = 8 << 20
DEADLINE = 60
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def instructions(text):
    """Each instruction with its text, its lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", "", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def flags(rest):
    """The flags before an instruction's text, and the text."""
    found = []
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        found.append(flag)
        rest = rest.strip()
    return found, rest


def context(into):
    """What `.dockerignore` lets through, as far as git has it or would."""
    rules = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*", "everything is left out first"
    listed = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.split("\n")
    for file in filter(None, files):
        parents = [file, *map(str, pathlib.PurePath(file).parents)]
        if any(fnmatch.fnmatch(each, rule[1:]) for rule in rules[1:] for each in parents) and (REPOSITORY / file).exists():
            (into / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / file, into / file)


def context_is_whole(folder):
    """cargo finds every target that Cargo.toml names, and every file that is compiled in is there."""
    context(folder)
    whole = ["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"]
    subprocess.run(whole, cwd=folder, check=True, capture_output=True)
    assert (folder / ".cargo/config.toml").exists(), "how the allocator begins"
    for source in (folder / "src").rglob("*.rs"):
        if "tests" in source.parts or source.name == "tests.rs":
            continue
        for included in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', source.read_text().split("#[cfg(test)]")[0]):
            assert (source.parent / included).exists(), f"{source} includes {included}, which .dockerignore leaves out"


class Stage:
    """A stage: its root, and what its instructions have set."""

    def __init__(self, root, base):
        self.root, self.base = root, base
        self.shell, self.directory = ["/bin/sh", "-c"], "/"
        self.set = {}
        self.environment = {"PATH": PATH, "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
        self.environment |= {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
        root.mkdir(parents=True)
        if base != "scratch":
            subprocess.run(["tar", "-xf", DEBIAN, "-C", root], check=True)
            shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        self.binds = []
        if base.startswith("rust:"):
            self.like_the_image_rust()

    def like_the_image_rust(self):
        """A C compiler and the toolchain, as the image has them. It trusts whom this machine trusts: a proxy may stand before crates.io."""
        self.run("apt-get -qq update && apt-get -qq install --yes --no-install-recommends gcc libc6-dev binutils ca-certificates")
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", self.root / "etc/ssl/certs/ca-certificates.crt")
        sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip()
        self.binds.append((sysroot, "/usr/local/rust"))
        self.environment |= {"PATH": f"/usr/local/rust/bin:{PATH}", "CARGO_HOME": "/usr/local/cargo"}

    def path(self, name):
        """A path of the stage, on this machine."""
        return self.root / os.path.join(self.directory, name).lstrip("/")

    def run(self, command, mounts=()):
        """One RUN, in a mount namespace of its own."""
        script = [f"mount -t proc proc {self.root}/proc", f"mount --rbind /dev {self.root}/dev"]
        for source, target in [*self.binds, *mounts]:
            at = self.root / target.lstrip("/")
            at.mkdir(parents=True, exist_ok=True)
            script.append(f"mount --bind {source} {at}")
        inner = f"cd {shlex.quote(self.directory)} && {command}"
        script.append(f"exec chroot {self.root} {shlex.join([*self.shell, inner])}")
        variables = [f"{key}={value}" for key, value in self.environment.items()]
        subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "env", "-i", *variables, "/bin/sh", "-ec", "\n".join(script)],
            check=True, stdout=sys.stderr,
        )  # fmt: skip


def build(folder, binary):
    """Runs every stage, and returns the last."""
    stages, arguments, stage, left_out = {}, {}, None, False
    for word, rest in instructions((REPOSITORY / "Dockerfile").read_text()):
        if word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif word == "FROM":
            base, _, name = re.sub(r"\$\{(\w+)\}", lambda use: arguments[use[1]], rest).partition(" AS ")
            left_out = binary is not None and name == "build"
            stages[name] = stage = None if left_out else Stage(folder / (name or "final"), base)
        elif left_out:
            continue
        elif word == "WORKDIR":
            stage.directory = os.path.join(stage.directory, rest)
            stage.path("").mkdir(parents=True, exist_ok=True)
        elif word == "SHELL":
            stage.shell = json.loads(rest)
        elif word == "RUN":
            given, command = flags(rest)
            mounts = []
            for number, flag in enumerate(given):
                mount = dict(pair.split("=") for pair in flag.removeprefix("--mount=").split(","))
                assert flag.startswith("--mount=") and mount["type"] == "cache", flag
                kept = CACHE / str(number)
                kept.mkdir(parents=True, exist_ok=True)
                mounts.append((kept, mount["target"]))
            print("RUN", command[:100], file=sys.stderr)
            stage.run(command, mounts)
        elif word == "COPY":
            given, rest = flags(rest)
            source, target = rest.split()
            to = stage.path(target)
            if not given:
                context(to if target != "." else stage.path(""))
                continue
            of = given[0].removeprefix("--from=")
            if binary is not None and of == "build":
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(binary, to)
                subprocess.run(["strip", "--strip-debug", to], check=True)
            else:
                whole = f"{stages[of].root}{source}" + ("." if source.endswith("/") else "")
                to.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-a", whole, to], check=True)
        elif word in ("USER", "ENTRYPOINT", "CMD", "HEALTHCHECK", "EXPOSE"):
            stage.set[word] = rest
        else:
            raise AssertionError(f"unknown instruction {word}")
    return stage


def holds_nothing_else(image):
    """Small, without a shell, and nothing in it that its user may write or that makes somebody else of him."""
    files = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
    besides = sum(path.stat().st_size for path in files if path.name != "gantry")
    assert besides < MOST_BESIDES, f"{besides} bytes besides the program"
    names = {path.name for path in files}
    assert not names & {"sh", "bash", "dash", "apt-get", "dpkg", "perl", "busybox"}, names
    for path in image.root.rglob("*"):
        if path.is_symlink():
            continue
        stat = path.stat()
        assert not stat.st_mode & 0o6000, f"{path} is setuid"
        writable = stat.st_uid == 65532 or stat.st_mode & 0o002
        assert not writable or path.relative_to(image.root).as_posix() in ("var/lib/gantry", "var/cache/gantry", "tmp"), path
    listed = {path.name for path in (image.root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "libgcc-s1"} <= listed, listed


def in_image(image, config, command):
    """How to start a command in the image, as an engine does with `--read-only --tmpfs /tmp --cap-drop ALL`."""
    root = image.root
    (root / "proc").mkdir(exist_ok=True)
    user = image.set["USER"]
    script = f"""
        mount --bind {root} {root}
        mount --bind {config} {root}/etc/gantry
        mount -t tmpfs -o mode=1777 tmpfs {root}/tmp
        mount -t proc proc {root}/proc
        mount -o remount,bind,ro {root}
        mount -o remount,bind,ro {root}/etc/gantry
        exec setpriv --no-new-privs chroot --userspec={user} {root} {shlex.join(command)}"""
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "env", "-i", f"PATH={PATH}", "/bin/sh", "-ec", script]


def free_port():
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return each.getsockname()[1]


def runs(image, folder):
    entry, arguments = (json.loads(image.set[word]) for word in ("ENTRYPOINT", "CMD"))
    health = json.loads(image.set["HEALTHCHECK"].partition("CMD ")[2])
    config = folder / "config"
    config.mkdir(mode=0o755)
    port = free_port()
    (config / "gantry.toml").write_text(
        f'[http]\nlisten = "127.0.0.1:{port}"\n[dimse]\nlisten = "127.0.0.1:{free_port()}"\n'
        '[archive.main]\nae_title = "PACS"\naddress = "127.0.0.1:1"\n'
    )
    folder.chmod(0o755)
    well = lambda: subprocess.run(in_image(image, config, health), capture_output=True, text=True)  # noqa: E731
    away = well()
    assert away.returncode == 1 and "no answer" in away.stderr, away
    log = open(folder / "log", "w+")
    server = subprocess.Popen(in_image(image, config, entry + arguments), stderr=log)
    try:
        deadline = time.monotonic() + DEADLINE
        while (seen := well()).returncode != 0:
            assert server.poll() is None and time.monotonic() < deadline, f"{seen}\n{(folder / 'log').read_text()}"
            time.sleep(0.1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=10) as answer:
            assert answer.status == 200
        child = pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0]
        status = pathlib.Path(f"/proc/{child}/status").read_text()
        assert re.search(r"^Uid:\t65532\t65532\t65532\t65532$", status, re.MULTILINE), status
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE) and re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE), status
        # SIGTERM for the first process of a container, which gets no signal that it has not asked for.
        os.kill(int(child), 15)
        assert server.wait(DEADLINE) == 0, (folder / "log").read_text()
    finally:
        server.kill()
        server.wait()


def main():
    parser = argparse.ArgumentParser()
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--binary", type=pathlib.Path)
    what.add_argument("--build", action="store_true")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        os.execvp("sudo", ["sudo", "--non-interactive", "--preserve-env=PATH,HOME", sys.executable, *sys.argv])
    hadolint = pathlib.Path(sys.executable).parent / "hadolint"
    judged = subprocess.run([hadolint, "--no-color", REPOSITORY / "Dockerfile"], capture_output=True, text=True)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    with tempfile.TemporaryDirectory(prefix="gantry-image-") as name:
        folder = pathlib.Path(name)
        context_is_whole(folder / "context")
        image = build(folder, arguments.binary)
        holds_nothing_else(image)
        runs(image, folder)
        program = (image.root / "usr/local/bin/gantry").stat().st_size
        besides = sum(path.stat().st_size for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()) - program
        print(f"program {program >> 20} MiB, besides {besides >> 10} KiB")


if __name__ == "__main__":
    main()
