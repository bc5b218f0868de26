"""Answers of our own, as clients read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.rig import get, open_rig, post
from trio_lb.errors import End

if TYPE_CHECKING:
    from pathlib import Path

BREAK = scripts.raw(b"", reset=True)


async def test_plain_text_by_default() -> None:
    async with open_rig(BREAK) as rig:
        response = await rig.ask(get("/", "X-Request-ID: id-7"))
        assert response.status == 502
        assert response.header("content-type") == "text/plain; charset=utf-8"
        assert response.header("x-request-id") == "id-7"
        assert response.header("cache-control") == "no-store"
        assert response.body.startswith(b"502 Bad Gateway\nthe server ")


async def test_json_for_who_asks_for_it() -> None:
    async with open_rig(BREAK) as rig:
        response = await rig.ask(get("/", "Accept: application/json"))
        content = json.loads(response.body)
        assert response.header("content-type") == "application/json"
        assert (content["status"], content["error"]) == (502, "Bad Gateway")
        assert content["request_id"] == response.header("x-request-id")
        assert content["request_id"] == rig.backends[0].requests[0].header("x-request-id")
        assert (await rig.ask(get("/", "Accept: application/json", "Expect: x"))).header(
            "content-type"
        ) == "application/json"


async def test_head_gets_no_body() -> None:
    async with open_rig(BREAK) as rig, rig.client() as client:
        await client.send(get(method="HEAD") + get(method="HEAD"))
        for _ in range(2):
            response = await client.read_response("HEAD")
            assert response.status == 502
            assert int(response.header("content-length") or 0) > 0


async def test_the_connection_goes_on_if_the_request_is_complete() -> None:
    async with open_rig(BREAK) as rig, rig.client() as client:
        await client.send(post(b"x") + get())
        assert (await client.read_response()).header("connection") is None
        assert (await client.read_response()).status == 502


@pytest.mark.parametrize(
    "data",
    [
        get("/<script>"),
        get("/", "X-Request-ID: <script>"),
        get("/", "Host: <script>"),
        get("/#<script>"),
        get("/", "<script>"),
        get("/", "Expect: <script>"),
        get("<script>"),
        get(method="<script>"),
        get("/", "Accept: application/json, <script>"),
        get("/", "Transfer-Encoding: <script>"),
        post(b"<script>"),
    ],
)
async def test_nothing_of_what_the_client_sent_comes_back(data: bytes) -> None:
    async with open_rig(BREAK) as rig, rig.client() as client:
        await client.send(data)
        await client.finish()
        got, _ = await client.read_until_close()
        assert got.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
        assert b"script" not in got


async def test_every_request_is_told_of_when_it_ends() -> None:
    async with open_rig(scripts.in_turn(scripts.answer(b"hello"), BREAK)) as rig:
        await rig.ask(post(b"abc"))
        await rig.ask(post(b"abc"))
        await rig.ask(get("/", "Expect: x"))
        await rig.idle()
        first, second, third = rig.records
        assert (first.status, first.reason, first.bytes_sent) == (200, "ok", 5)
        assert (first.bytes_received, first.client) == (3, "192.0.2.1")
        assert (second.status, second.reason[:10]) == (502, "the server")
        assert second.bytes_sent > 0  # of our own answer
        assert (third.status, third.attempts) == (417, [])
        assert third.bytes_sent > 0
        assert [each.ended for each in rig.records] == [End.OK, End.SERVER_BROKEN, End.REFUSED]
        assert rig.counters.read().requests == 3
        assert rig.counters.read().classes == (0, 0, 1, 0, 1, 1)


async def test_a_client_on_a_unix_socket_has_no_address() -> None:
    async with open_rig(scripts.answer()) as rig:
        ours, theirs = rig.network.pair()
        ours.peer = "unix:"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.proxy.serve, ours)
            theirs.send_nowait(get("/", "Connection: close"))
        assert rig.backends[0].requests[0].header("x-forwarded-for") == "unknown"
        theirs.close()


async def test_pages_of_the_users_own(tmp_path: Path) -> None:
    page, text = tmp_path / "down.html", tmp_path / "head.txt"
    page.write_bytes(b"<h1>back soon</h1>")
    text.write_bytes(b"\xff")
    pages = {502: str(page), 400: str(text)}
    async with open_rig(BREAK, error_pages=pages) as rig:
        response = await rig.ask(get("/", "Accept: application/json"))
        assert (response.status, response.body) == (502, b"<h1>back soon</h1>")
        assert response.header("content-type") == "text/html; charset=utf-8"
        assert response.header("x-request-id")
        async with rig.client() as client:
            await client.send(get(method="HEAD"))
            response = await client.read_response("HEAD")
            assert (response.header("content-length"), response.body) == ("18", b"")
        malformed = await rig.ask(b"GET /\r\n\r\n")
        assert (malformed.status, malformed.body) == (400, b"\xff")
        assert (await rig.ask(get("/", "Expect: x"))).header("content-type") != "text/html"


async def test_a_servers_own_error_keeps_its_page(tmp_path: Path) -> None:
    page = tmp_path / "down.html"
    page.write_bytes(b"ours")
    pages = {503: str(page)}
    async with open_rig(scripts.answer(b"theirs", 503), error_pages=pages) as rig:
        assert (await rig.ask(get())).body == b"theirs"
