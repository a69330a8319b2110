"""A Slurm of one node on loopback: its own munge, controller and node daemon, with all files in one folder."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
PATIENCE = 120  # seconds, for anything that a daemon does
CPUS = 4
CONFIGURED = Path("/etc/slurm/slurm.conf")
LINK = Path("/run/slurm/conf")
# No systemd and no control groups: jobs are found by their parents, memory is sampled. A time limit is enforced
# within a minute, a silent node is down after fifteen seconds. There is no accounting: squeue shows finished jobs.
SETTINGS = """
ClusterName=small
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
SlurmdTimeout=15
KillWait=2
MinJobAge=86400
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=32000 {gpu}
PartitionName=small Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def install() -> None:
    """Install Slurm and munge from Debian, where they are missing; RuntimeError where that is impossible."""
    if os.geteuid() != 0:
        raise RuntimeError("make test-cluster starts Slurm's daemons, which need root: run it as root, in a container.")
    if not (missing := [name for name in PROGRAMS if find(name) is None]):
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
            subprocess.run(
                ["apt-get", "-qq", *command], check=True, timeout=600, env=environment, stdout=subprocess.DEVNULL
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(f"{', '.join(missing)} are missing ({error}): install Slurm and munge first.") from None


def find(name: str) -> str | None:
    """Return the path of a program; daemons are in folders that a user's PATH may lack."""
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


class SmallSlurm:
    """The daemons, which `close` ends with every job. `gpu` is the type of the one GPU that the node claims to have."""

    def __init__(self, folder: Path, gpu: str = "") -> None:
        self.folder = folder
        self.begun = time.time()
        folder.chmod(0o755)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        with contextlib.ExitStack() as held:  # two free ports
            sockets = [held.enter_context(socket.socket()) for _ in range(2)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            ports = [each.getsockname()[1] for each in sockets]
        self.host = socket.gethostname().partition(".")[0]
        claimed = f"Gres=gpu:{gpu}:1" if gpu else ""
        settings = SETTINGS.format(host=self.host, ports=ports, folder=folder, cpus=CPUS, gpu=claimed)
        (folder / "slurm.conf").write_text(settings + "GresTypes=gpu\n" * bool(gpu))
        (folder / "gres.conf").write_text(f"Name=gpu Type={gpu} File=/dev/zero\n" * bool(gpu))
        self.daemons = {}
        # Jobs do not inherit SLURM_CONF from their `make run`, so the settings must be where Slurm looks for them.
        if CONFIGURED.exists() or LINK.is_symlink():
            raise RuntimeError(f"This machine has a Slurm ({CONFIGURED} or {LINK}): run make test-cluster elsewhere.")
        LINK.parent.mkdir(exist_ok=True)
        LINK.symlink_to(folder)

    def start(self) -> None:
        """Start the three daemons, and wait until the node takes jobs."""
        files = [f"--{name}={self.folder}/munge.{name.removesuffix('-file')}" for name in ("key-file", "pid-file")]
        files += [f"--{name}={self.folder}/munge.{name}" for name in ("socket", "log-file", "seed-file")]
        self._start("munged", "--foreground", "--force", *files)
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged opens its socket")
        self._start("slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
        self.start_node()

    def start_node(self, *wrapper: str) -> None:
        """Start the node's daemon, perhaps through another program, and wait until the node takes jobs."""
        self._start("slurmd", "-D", "-N", self.host, "-f", str(self.folder / "slurm.conf"), wrapper=wrapper)
        self._wait(lambda: self.ask("sinfo", "-h", "-o", "%t") in ("idle", "mix", "alloc"), "the node takes jobs")

    def kill_node(self) -> None:
        """Kill the node's daemon and everything that it started, as a power cut does."""
        daemon = self.daemons.pop("slurmd")
        daemon.kill()
        daemon.wait()
        self._kill_jobs()

    def _kill_jobs(self) -> None:
        for process in psutil.process_iter(["cmdline", "create_time"]):
            # "slurmstepd: [3.batch]" has no parent that tells whose it is, but this is the machine's only Slurm.
            title = " ".join(process.info["cmdline"] or [])
            if title.startswith("slurmstepd: [") and process.info["create_time"] >= self.begun:
                for doomed in (process, *process.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        doomed.kill()

    def ask(self, *command: str) -> str:
        """Return what one of Slurm's commands prints, without the blanks around it; empty where it fails."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def close(self) -> None:
        """End every job and every daemon, in whatever state they are."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.ask("scancel", "--user=root")
        for name in reversed(list(self.daemons)):
            daemon = self.daemons.pop(name)
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._kill_jobs()
        LINK.unlink(missing_ok=True)

    def _start(self, name: str, *options: str, wrapper: tuple[str, ...] = ()) -> None:
        log = (self.folder / f"{name}.out").open("ab")
        command = [*wrapper, find(name), *options]
        self.daemons[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def _wait(self, done, what: str) -> None:
        until = time.monotonic() + PATIENCE
        while not done():
            for name, daemon in self.daemons.items():
                if daemon.poll() is not None:
                    raise RuntimeError(f"{name} ended before {what}: read {self.folder}/{name}.out and its .log.")
            if time.monotonic() > until:
                raise RuntimeError(f"{PATIENCE} seconds passed before {what}: read the logs in {self.folder}.")
            time.sleep(0.5)
