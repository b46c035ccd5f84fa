"""The page's routes: what it is made of, what it may choose from, and what it asks to be drawn."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from ldmscene import report
from ldmscene.painting.asked import Asked, FieldError
from ldmscene.painting.guard import Guard
from ldmscene.painting.images import thumbnail
from ldmscene.painting.jobs import ENDS, BusyError, Job, Jobs
from ldmscene.painting.offer import Offer
from ldmscene.painting.studio import Studio

PAGE = Path(__file__).parent / "page"
ASSETS = Path(report.__file__).parent / "site" / "assets"
LONGEST_BODY = 4_100_000  # bytes
THUMBNAIL = 96  # pixels
_SEAT = re.compile(r"[A-Za-z0-9-]{1,64}")
_FROM_THE_REPORT = ("page.css", "figures.css")


class Pages:
    """Answers the requests of all pages.

    Parameters
    ----------
    studio : Studio
    jobs : Jobs
    about : dict
        What the page says of the model, for its template.
    """

    def __init__(self, studio: Studio, jobs: Jobs, about: dict[str, Any]) -> None:
        self._studio, self._jobs, self._about = studio, jobs, about
        frame = studio.store.manifest.frame
        held_out = frame[frame["split"] == "test"]
        self._samples = held_out if len(held_out) else frame
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(PAGE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
        )
        self._page = environment.get_template("index.html")

    def app(self, token: str, hosts: set[str]) -> Guard:
        """All of it, behind its guard."""
        routes = [
            Route("/", self.page),
            Route("/offer.json", self.offer),
            Route("/samples/{number:int}.webp", self.sample),
            Route("/assets/{name}", self.asset),
            Route("/draw", self.draw, methods=["POST"]),
            Route("/events/{job}", self.events),
            Route("/cancel/{job}", self.cancel, methods=["POST"]),
        ]
        return Guard(Starlette(routes=[Mount(f"/{token}", routes=routes)]), token, hosts)

    async def page(self, request: Request) -> Response:
        return HTMLResponse(self._page.render(self._about, offer=self._studio.offer))

    async def offer(self, request: Request) -> Response:
        columns = self._samples[["prompt", "seed"]].astype({"seed": str})
        samples = columns.to_dict("records")
        return JSONResponse({**self._studio.offer.words(), "samples": samples, "count": self._studio.steps})

    async def sample(self, request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(self._samples):
            return Response(status_code=404)
        found = await run_in_threadpool(self._thumbnail, self._samples["sample_id"].iloc[number])
        return Response(found, media_type="image/webp")

    def _thumbnail(self, sample_id: str) -> bytes:
        return thumbnail(self._studio.store.images(samples=[sample_id]).values[0], THUMBNAIL)

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        found = {path.name: path for path in PAGE.iterdir() if path.suffix in (".js", ".css")}
        found |= {shared: ASSETS / shared for shared in _FROM_THE_REPORT}
        return FileResponse(found[name]) if name in found else Response(status_code=404)

    async def draw(self, request: Request) -> Response:
        """Queue a picture; a newer one of the same seat takes an older one's place."""
        try:
            # Millions of characters are read in a thread, so that what is being drawn is told meanwhile.
            seat, asked = await run_in_threadpool(_asked, await _body(request), self._studio.offer)
            job = self._jobs.submit(seat, partial(_draw, self._studio, asked))
        except FieldError as error:
            return JSONResponse({"field": error.field, "message": error.message}, 422)
        except BusyError as error:
            return JSONResponse({"field": "page", "message": str(error)}, 503)
        return JSONResponse({"job": job.id}, 202)

    async def events(self, request: Request) -> Response:
        job = self._jobs.find(request.path_params["job"])
        if job is None:
            return Response(status_code=404)
        return StreamingResponse(self._stream(job), media_type="text/event-stream")

    async def _stream(self, job: Job) -> AsyncIterator[str]:
        """A job's events; once nobody reads them the job is no longer wanted."""
        try:
            async for event in _listen(job):
                yield f"data: {json.dumps(event)}\n\n"
        finally:
            self._jobs.cancel(job)

    async def cancel(self, request: Request) -> Response:
        if job := self._jobs.find(request.path_params["job"]):
            self._jobs.cancel(job)
        return Response(status_code=204)


def _draw(studio: Studio, asked: Asked, job: Job) -> None:
    studio.draw(asked, job.tell)


async def _listen(job: Job) -> AsyncIterator[dict[str, Any]]:
    loop, bell, told = asyncio.get_running_loop(), asyncio.Event(), 0

    def ring() -> None:
        loop.call_soon_threadsafe(bell.set)

    with job.ringing(ring):
        while True:
            bell.clear()
            for event in job.events[told:]:
                told += 1
                yield event
                if event["event"] in ENDS:
                    return
            await bell.wait()


async def _body(request: Request) -> bytes:
    """Read up to its limit.

    Raises
    ------
    FieldError
        If it is too long, or isn't said to be JSON.
    """
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise FieldError("page", "expected JSON")  # which another site's form can't send
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise FieldError("page", f"expected at most {LONGEST_BODY:,} bytes")
    return body


def _asked(body: bytes, offer: Offer) -> tuple[str, Asked]:
    """Who asks, and for what; FieldError names the field that can't be used."""
    try:
        words = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FieldError("page", "expected JSON") from error
    seat = words.get("seat") if isinstance(words, dict) else None
    if not isinstance(seat, str) or not _SEAT.fullmatch(seat):
        raise FieldError("seat", "expected letters, digits and '-'")
    return seat, Asked.of(words, offer)
