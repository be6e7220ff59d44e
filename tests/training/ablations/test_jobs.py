"""Real processes side by side: order, resumption, failure and the end of the time."""

from __future__ import annotations

import sys
from pathlib import Path

from training.ablations.jobs import Job, Outcome, run_jobs


def job(folder: Path, name: str, code: str, *, after: tuple[str, ...] = (), threads: int = 1) -> Job:
    """Runs `code` with `made` and `log` at hand, the second a file that all jobs append to."""
    made = folder / f"{name}.made"
    start = f"import time, sys, os; from pathlib import Path; made = Path({str(made)!r}); "
    log = f"log = Path({str(folder / 'order.txt')!r}).open('a', buffering=1); "
    return Job(
        name=name,
        commands=((sys.executable, "-c", start + log + code),),
        made=made,
        done=folder / "done" / name,
        log=folder / "logs" / f"{name}.log",
        after=tuple(folder / "done" / other for other in after),
        threads=threads,
    )


def told(name: str, seconds: float = 0.0) -> str:
    return f"log.write('+{name} '); time.sleep({seconds}); log.write('-{name} '); made.write_text({name!r})"


def run(jobs: list[Job], *, side_by_side: int = 4, seconds: float = 60) -> Outcome:
    return run_jobs(jobs, side_by_side=side_by_side, seconds=seconds, tell=lambda _: None)


def test_jobs_wait_for_what_they_need_and_are_not_run_again(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "row", told("row"), after=("towers",)),
        job(tmp_path, "towers", told("towers", 0.5)),
    ]
    assert run(jobs) == Outcome(found=(), ended=("towers", "row"), failed=(), left=())
    order = (tmp_path / "order.txt").read_text()
    assert order == "+towers -towers +row -row "
    assert (tmp_path / "done" / "row").read_text() == "row"
    assert run(jobs) == Outcome(found=("row", "towers"), ended=(), failed=(), left=())
    assert (tmp_path / "order.txt").read_text() == order


def test_no_more_threads_than_allowed(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "wide", told("wide", 0.4), threads=2), *(job(tmp_path, n, told(n, 0.4)) for n in "abc")]
    assert set(run(jobs, side_by_side=2).ended) == {"wide", "a", "b", "c"}
    running = 0
    for event in (tmp_path / "order.txt").read_text().split():
        running += (1 if event[0] == "+" else -1) * (2 if event[1:] == "wide" else 1)
        assert running <= 2
    environment = job(tmp_path, "env", "made.write_text(os.environ['OMP_NUM_THREADS'])", threads=3)
    run([environment])
    assert environment.done.read_text() == "3"


def test_failure_is_told_and_keeps_back_only_what_needs_it(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "towers", "print('no room'); sys.exit(2)"),
        job(tmp_path, "row", told("row"), after=("towers",)),
        job(tmp_path, "other", told("other")),
    ]
    assert run(jobs) == Outcome(found=(), ended=("other",), failed=("towers",), left=("row",))
    assert "no room" in jobs[0].log.read_text()
    jobs[0] = job(tmp_path, "towers", told("towers"))
    assert run(jobs) == Outcome(found=("other",), ended=("towers", "row"), failed=(), left=())


def test_time_is_up(tmp_path: Path) -> None:
    wait = "\ntry: log.write('begun '); time.sleep(60)\nexcept KeyboardInterrupt: log.write('stopped '); sys.exit(130)"
    jobs = [job(tmp_path, "quick", told("quick")), job(tmp_path, "long", "pass" + wait), job(tmp_path, "late", "pass")]
    outcome = run(jobs, side_by_side=1, seconds=3)
    assert outcome == Outcome(found=(), ended=("quick",), failed=(), left=("long", "late"))
    assert (tmp_path / "order.txt").read_text().endswith("begun stopped ")
    assert not jobs[1].done.exists()
