"""Every shape in which a secret, `hunter2`, was seen in events."""

from __future__ import annotations

import json
from typing import Any

SECRETS: dict[str, Any] = {
    "json in a text": {"representation": '{"credentials": [{"type": "password", "value": "hunter2"}]}'},
    "json in json in a text": {"body": json.dumps({"inner": json.dumps({"password": "hunter2"})})},
    "a text that is json": {"body": json.dumps(json.dumps({"token": "hunter2"}))},
    "field, old, new": {"changes": [{"field": "password", "old": "hunter2", "new": "hunter2"}]},
    "name, value": {"attributes": [{"name": "api_key", "value": {"raw": "hunter2"}}]},
    "key, before, after": {"changes": {"key": "client_secret", "before": "hunter2", "after": ["hunter2"]}},
    "oldValue, newValue": {"changes": [{"attribute": "userPassword", "oldValue": "hunter2", "newValue": "hunter2"}]},
    "json patch": {"patch": [{"op": "replace", "path": "/user/password", "value": "hunter2"}]},
    "a pair": {"request_headers": [["Authorization", "Bearer hunter2"], ["Accept", "*/*"]]},
    "a flat list": {"raw_headers": ["Host", "x.example", "Cookie", "sid=hunter2"]},
    "a command line": {"argv": ["psql", "-h", "db", "--password", "hunter2"]},
    "a query": {"url": "https://x.example/cb?a=1&access_token=hunter2&b=2"},
    "a relative query": {"path": "/cb?access_token=hunter2"},
    "a fragment": {"url": "https://x.example/cb#access_token=hunter2"},
    "an escaped name": {"url": "https://x.example/cb?access%5Ftoken=hunter2"},
    "a signed url": {"url": "https://s3.example/b/k?X-Amz-Signature=hunter2"},
    "an otpauth url": {"qr": "otpauth://totp/x:anna?secret=hunter2&issuer=x"},
    "a form": {"form": "grant_type=password&username=anna&password=hunter2"},
    "user information": {"url": "postgresql://anna:hunter2@db.example/stream"},
    "user information with @": {"url": "https://anna:p@hunter2@db.example/"},
    "a token before @": {"url": "https://hunter2@git.example/x.git"},
    "a url in a known field": {"user_agent": "bot (+https://anna:hunter2@x.example)"},
    **{
        name: {name: "hunter2"}
        for name in (
            "pass",
            "user_pass",
            "passcode",
            "pin",
            "pinCode",
            "otp",
            "totp",
            "recovery_codes",
            "dsn",
            "cookie",
        )
    },
    **{name: {name: ["hunter2"]} for name in ("backup_codes", "access_tokens", "jwt", "mnemonic", "connection_string")},
}


def nested(shape: str, value: Any) -> Any:
    """The value, 390 levels deep in objects or arrays, or 40 levels deep in texts that are JSON."""
    if shape == "texts":
        text = json.dumps(value)
        for _ in range(40):  # escaped so that each level adds a few characters, where `json.dumps` would double them
            text = '"' + text.replace("\\", "\\u005c").replace('"', "\\u0022") + '"'
        return text
    for _ in range(390):
        value = {"a": value} if shape == "objects" else [value]
    return value
