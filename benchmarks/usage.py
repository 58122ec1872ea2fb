"""CPU time and memory of processes, from /proc (Linux). Ended children count with the parent that waited for them."""

import os
from pathlib import Path

import psycopg
import redis

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5)); the second is a name that may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = int(_stat(int(entry.name))[1])
            except OSError:  # it has ended meanwhile
                continue
    return found


def of_tree(pid: int) -> float:
    """CPU seconds of a process and all below it."""
    parents = _parents()
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return sum(_of_process(each) for each in family)


def _of_process(pid: int) -> float:
    try:
        fields = _stat(pid)
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / TICKS  # utime, stime, cutime, cstime


def of_postgresql(url: str) -> float:
    """Of the whole server: backends, walwriter, checkpointer. 0 when it runs on another machine."""
    with psycopg.connect(url) as connection:
        backend = connection.info.backend_pid
        try:
            postmaster = int(_stat(backend)[1])
        except OSError:
            return 0.0
        is_here = Path(f"/proc/{postmaster}/comm").read_text().startswith("postgres")
        return of_tree(postmaster) if is_here else 0.0


def of_redis(url: str) -> float:
    with redis.Redis.from_url(url) as connection:
        told = connection.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def memory(pid: int) -> int:
    """Octets of a process alone: its proportional share, or its resident set where the kernel does not tell that."""
    for name, line in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            text = Path(f"/proc/{pid}/{name}").read_text()
        except OSError:
            continue
        for found in text.splitlines():
            if found.startswith(line):
                return int(found.split()[1]) * 1024
    return 0
