"""The JSON Schema agrees with the reader about what may be written."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from trio_lb.config import ProfileError, dump_profile, json_schema, parse_profile

SCHEMA = json_schema()

RIGHT = [
    "servers: http://127.0.0.1:3001",
    "servers: [http://a, {url: unix:/x, weight: 3, max_connections: 5, name: x}]",
    "servers: {url: http://a}\nlisten: [http://*:80, unix:/run/x]\nalgorithm: wlrt",
    "servers: http://a\ntimeout: 250ms\ntimeouts: {connect: 0.5, body: 1m}",
    "servers: http://a\nlimits: {head: 16KiB, body: off, headers: 3, target: 1 MB}",
    "servers: http://a\nlimits: {body: 1MB}\nreplay_body: 0\nretries: 0",
    "servers: http://a\nhealth_check: off",
    "servers: http://a\nhealth_check: {statuses: [200-399, 404], jitter: 10%, enabled: on}",
    "servers: http://a\nhealth_check: {statuses: 204, jitter: 0.5, rise: 2}",
    "servers: http://a\naccess_log: '-'\naccess_log_format: json\nlog_level: debug",
    "servers: http://${HOST:-a}\nretries: ${RETRIES:-3}\nalgorithm: ${ALGORITHM:-rr}",
    "servers: http://a\nhealth_check: ${CHECK:-off}\naccess_log: null",
    "servers: http://a\nworkers: 4\npid_file: /run/x.pid\nuser: www-data:adm",
    "servers: http://a\nworkers: auto\npid_file: off\nuser: off",
    "servers: http://a\nworkers: ${WORKERS:-256}\nuser: nobody",
]
WRONG = [
    "listen: http://a",
    "servers: []",
    "servers: 3",
    "servers: https://a",
    "servers: {weight: 3}",
    "servers: [[http://a]]",
    "servers: {url: http://a, weight: 0}",
    "servers: {url: http://a, weight: heavy}",
    "servers: {url: http://a, wieght: 3}",
    "servers: http://a\ntimeout: soon",
    "servers: http://a\ntimeout: -3",
    "servers: http://a\nalgorithm: magic",
    "servers: http://a\nlimits: {head: 16 pages}",
    "servers: http://a\nlimits: 3",
    "servers: http://a\nhealth_check: perhaps",
    "servers: http://a\nhealth_check: {statuses: 999}",
    "servers: http://a\nhealth_check: {statuses: []}",
    "servers: http://a\nunavailable_status: 200",
    "servers: http://a\nunknown: 3",
    "servers: http://a\nlog_level: 3",
    "servers: http://a\nworkers: 0",
    "servers: http://a\nworkers: 257",
    "servers: http://a\nworkers: 1.5",
    "servers: http://a\nworkers: many",
    "servers: http://a\nworkers: off",
    "servers: http://a\npid_file: [a, b]",
    "servers: http://a\nuser: a:b:c",
    "servers: http://a\nuser: 'a b'",
]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", RIGHT)
def test_right_profiles_are_right_for_both(text: str) -> None:
    profile = parse_profile(text, environ={})
    jsonschema.validate(yaml.safe_load(text), SCHEMA)
    jsonschema.validate(yaml.safe_load(dump_profile(profile)), SCHEMA)


@pytest.mark.parametrize("text", WRONG)
def test_wrong_profiles_are_wrong_for_both(text: str) -> None:
    with pytest.raises(ProfileError):
        parse_profile(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), SCHEMA)


def _keys(schema: Any, path: str = "") -> dict[str, dict[str, Any]]:
    """All keys of all mappings in a schema, by their path."""
    found: dict[str, dict[str, Any]] = {}
    if isinstance(schema, dict):
        for name, key in schema.get("properties", {}).items():
            found[f"{path}{name}"] = key
            found |= _keys(key, f"{path}{name}.")
        for form in schema.get("anyOf", []):
            found |= _keys(form, path)
        found |= _keys(schema.get("items"), path)
    return found


def test_every_key_is_described() -> None:
    keys = _keys(SCHEMA)
    assert {"listen", "servers", "servers.url", "timeouts.connect", "health_check.path"} <= set(
        keys
    )
    assert [path for path, key in keys.items() if not key["description"]] == []


def test_the_defaults_in_it_are_those_that_hold() -> None:
    dumped = yaml.safe_load(dump_profile(parse_profile("servers: http://a")))
    keys = _keys(SCHEMA)
    for path in ("timeout", "listen", "algorithm", "retries", "workers", "user", "access_log"):
        assert keys[path]["default"] == dumped[path]
    assert keys["limits.body"]["default"] is False
