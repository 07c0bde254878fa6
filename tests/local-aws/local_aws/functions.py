"""Lambda: which process serves a function, and the queue in front of it.

A function is a list of URLs, each one Runtime Interface Emulator (RIE). A RIE serves one invocation at
a time and *crashes* on a second one, so every URL has one worker and one lock, and everything that
invokes a function goes through its queue.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
import urllib.parse
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .errors import AwsError
from .world import DELAYS, KNOBS

PATH = "/2015-03-31/functions/function/invocations"
UNREACHABLE_SECONDS = 10  # how long an event waits for a process that does not listen (yet)


@dataclass
class Job:
    """One event on its way to a function, and what came of it."""

    id: int
    function: str
    payload: Any
    source: str
    kind: str = "Event"
    attempt: int = 1
    queued_at: float = field(default_factory=time.time)
    started_at: float | None = None
    finished_at: float | None = None
    url: str | None = None
    status: int | None = None
    answer: Any = None
    error: str | None = None
    function_error: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    def view(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "function": self.function,
            "source": self.source,
            "kind": self.kind,
            "attempt": self.attempt,
            "url": self.url,
            "event": self.payload,
            "answer": self.answer,
            "status": self.status,
            "function_error": self.function_error,
            "error": self.error,
            "queued_at": self.queued_at,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
        }


class Worker(threading.Thread):
    """Serves the queue of one function with one URL."""

    def __init__(self, owner: Functions, name: str, url: str):
        super().__init__(daemon=True, name=f"{name} at {url}")
        self.owner, self.function, self.url = owner, name, url
        self.stopped = False

    def run(self) -> None:
        while True:
            job = self.owner.next_job(self)
            if job is None:
                return
            with self.owner.url_lock(self.url):
                self.serve(job)
            self.owner.finished(job)

    def serve(self, job: Job) -> None:
        job.started_at, job.url = time.time(), self.url
        give_up = job.started_at + UNREACHABLE_SECONDS
        while True:
            try:
                job.status, text = self.post(json.dumps(job.payload).encode())
                break
            except ConnectionRefusedError as error:
                if time.time() > give_up or self.stopped:
                    job.error, job.function_error = f"{error}", True
                    return
                time.sleep(0.1)
            except (OSError, http.client.HTTPException) as error:
                job.error, job.function_error = f"{type(error).__name__}: {error}", True
                return
        try:
            job.answer = json.loads(text) if text else None
        except ValueError:  # "Task timed out after 5.00 seconds" is no JSON
            job.answer, job.function_error = text, True
        job.function_error = (
            job.function_error
            or job.status != 200
            or (isinstance(job.answer, dict) and "errorType" in job.answer and "errorMessage" in job.answer)
        )

    def post(self, body: bytes) -> tuple[int, str]:
        url = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(
            url.hostname or "127.0.0.1", url.port or 80, timeout=KNOBS["function_timeout"]
        )
        try:
            connection.request(
                "POST",
                url.path if url.path not in ("", "/") else PATH,
                body,
                {"content-type": "application/json"},
            )
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
        finally:
            connection.close()


class Functions:
    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._queues: dict[str, deque[Job]] = {}
        self._workers: dict[str, list[Worker]] = {}
        self._url_locks: dict[str, threading.Lock] = {}
        self._ids = itertools.count(1)
        self._open: set[int] = set()  # queued or in flight
        self.deliveries: deque[Job] = deque(maxlen=100_000)

    def url_lock(self, url: str) -> threading.Lock:
        """Outlives `reset`: a process may still be busy with the world before."""
        with self._changed:
            return self._url_locks.setdefault(url.rstrip("/"), threading.Lock())

    def map(self) -> dict[str, list[str]]:
        with self._changed:
            return {name: [w.url for w in workers] for name, workers in self._workers.items()}

    def set(self, name: str, urls: list[str]) -> None:
        """Serve function `name` at `urls` from now on; without URLs its events wait in the queue."""
        with self._changed:
            self._queues.setdefault(name, deque())
            for worker in self._workers.pop(name, []):
                worker.stopped = True
            self._workers[name] = [Worker(self, name, url) for url in urls]
            for worker in self._workers[name]:
                worker.start()
            self._changed.notify_all()

    def next_job(self, worker: Worker) -> Job | None:
        with self._changed:
            while not worker.stopped:
                jobs = self._queues.get(worker.function)
                if jobs:
                    return jobs.popleft()
                self._changed.wait()
        return None

    def enqueue(self, name: str, payload: Any, source: str, kind: str = "Event", attempt: int = 1) -> Job:
        with self._changed:
            job = Job(next(self._ids), name, payload, source, kind, attempt)
            if name in self._queues:
                self._open.add(job.id)
                self._queues[name].append(job)
                self._changed.notify_all()
            else:
                job.error, job.function_error, job.finished_at = "no such function", True, time.time()
                self.deliveries.append(job)
                job.done.set()
        return job

    def finished(self, job: Job) -> None:
        job.finished_at = time.time()
        with self._changed:
            if job.id in self._open:  # else it is from before a reset
                self._open.discard(job.id)
                self.deliveries.append(job)
                if job.function_error and job.kind == "Event" and job.attempt <= int(KNOBS["async_retries"]):
                    DELAYS.at(
                        time.time() + KNOBS["async_retry_seconds"],
                        lambda: self.enqueue(
                            job.function, job.payload, job.source, job.kind, job.attempt + 1
                        ),
                    )
            job.done.set()
            self._changed.notify_all()

    def call(self, name: str, payload: Any, source: str = "invoke") -> Job:
        """A synchronous invocation."""
        with self._changed:
            known = bool(self._workers.get(name))
        if not known:
            raise AwsError("ResourceNotFoundException", f"Function not found: {name}", 404)
        job = self.enqueue(name, payload, source, "RequestResponse")
        if not job.done.wait(KNOBS["function_timeout"]):
            raise AwsError("ServiceException", f"{name} did not answer", 500)
        return job

    def idle(self) -> bool:
        """Nothing is queued, in flight, delayed or to be retried."""
        with self._changed:
            return not self._open and not DELAYS.pending()

    def reset(self) -> None:
        with self._changed:
            for workers in self._workers.values():
                for worker in workers:
                    worker.stopped = True
            self._workers.clear()
            self._queues.clear()
            self._open.clear()
            self.deliveries.clear()
            self._changed.notify_all()


FUNCTIONS = Functions()
