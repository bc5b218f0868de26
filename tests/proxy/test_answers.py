"""Answers of our own, as clients read them."""

from __future__ import annotations

import json

import pytest
import trio

from tests.support import scripts
from tests.support.rig import get, open_rig, post

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
        first, second, third = rig.ended
        assert first.exchange is not None
        assert (first.status, first.why, first.exchange.bytes_sent) == (200, "ok", 5)
        assert (first.exchange.body.size, first.client) == (3, "192.0.2.1")
        assert (second.status, second.why[:10]) == (502, "the server")
        assert (third.status, third.exchange) == (417, None)
        assert rig.servers.tally.read().requests == 3
        assert rig.servers.tally.read().classes == (0, 0, 1, 0, 1, 1)


async def test_a_client_on_a_unix_socket_has_no_address() -> None:
    async with open_rig(scripts.answer()) as rig:
        ours, theirs = rig.network.pair()
        ours.peer = "unix:"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.proxy.serve, ours)
            theirs.send_nowait(get("/", "Connection: close"))
        assert rig.backends[0].requests[0].header("x-forwarded-for") == "unknown"
        theirs.close()
