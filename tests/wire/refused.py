"""Lines that must be refused, with the rule and the ids that must be told."""

from __future__ import annotations

import pytest

from sandbox.wire.salvage import MAX_ID_CHARS, MAX_ID_NUMBER

REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":"b"}}}'


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    """A frame whose deepest container is `depth` levels down; the message itself is the first."""
    body = opening * (depth - 2) + closing * (depth - 2)
    return b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":%s}}' % body.encode()


REFUSED = [
    pytest.param(b"\xef\xbb\xbf" + REQUEST, "frame-bom", (1,), id="a byte order mark"),
    pytest.param(b"[" + REQUEST + b"]", "frame-batch", (1,), id="a batch of one"),
    pytest.param(
        b"[" + REQUEST + b"," + REQUEST.replace(b'1,"m', b'"1","m') + b"]",
        "frame-batch",
        (1, "1"),
        id="a batch names every id",
    ),
    pytest.param(b"[]", "frame-batch", (), id="an empty batch"),
    pytest.param(b"5", "frame-json", (), id="a number"),
    pytest.param(b"null", "frame-json", (), id="null"),
    pytest.param(REQUEST + b" " + REQUEST, "frame-json", (1,), id="two objects on a line"),
    pytest.param(REQUEST + b"\x00", "frame-json", (1,), id="a NUL after the object"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x"', "frame-json", (1,), id="a cut object"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\xff"}}', "frame-utf8", (1,), id="invalid UTF-8"
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\xed\xa0\x80"}}',
        "frame-utf8",
        (1,),
        id="a surrogate as UTF-8",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\xc0\xaf"}}',
        "frame-utf8",
        (1,),
        id="an overlong slash",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","\xff":1}', "frame-utf8", (1,), id="invalid UTF-8 in a key"
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\\ud800"}}',
        "frame-surrogate",
        (1,),
        id="half a surrogate pair",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"\\udc00\\ud800":1}}',
        "frame-surrogate",
        (1,),
        id="a pair the wrong way round, in a key",
    ),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}', "frame-nan", (1,), id="NaN"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":-Infinity}}', "frame-nan", (1,), id="infinity"
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1e999}}',
        "frame-number",
        (1,),
        id="a number that becomes infinity",
    ),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"id":1,"method":"x"}', "frame-duplicate-key", (), id="two ids"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","method":"y"}', "frame-duplicate-key", (1,), id="two methods"
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"a":1}}',
        "frame-duplicate-key",
        (1,),
        id="a repeated key one level down",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"l":[[{"a":{},"b":2,"a":{}}]]}}',
        "frame-duplicate-key",
        (1,),
        id="a repeated key deep inside a list",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"\\u0061":2}}',
        "frame-duplicate-key",
        (1,),
        id="keys equal after unescaping",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"m\\u0065thod":"x","method":"y"}',
        "frame-duplicate-key",
        (1,),
        id="an escaped second method",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"/":"\\"","\\/":"\\\\"}}',
        "frame-duplicate-key",
        (1,),
        id="repeated keys among escaped quotes and backslashes",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"":0,"":"\\u0022"}}',
        "frame-duplicate-key",
        (1,),
        id="empty keys repeated beside an escaped quote",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","unknown":{"a":1,"a":2}}',
        "frame-duplicate-key",
        (1,),
        id="a repeated key in a field nobody reads",
    ),
    pytest.param(nested(101), "frame-depth", (1,), id="101 lists deep"),
    pytest.param(
        nested(101, '{"a":', "}").replace(b":}", b":1}"), "frame-depth", (1,), id="101 objects deep"
    ),
    pytest.param(b'{"id":1,"method":"x"}', "frame-envelope", (1,), id="no version"),
    pytest.param(
        b'{"jsonrpc":2.0,"id":1,"method":"x"}', "frame-envelope", (1,), id="the version as a number"
    ),
    pytest.param(b'{"jsonrpc":"1.0","id":1,"method":"x"}', "frame-envelope", (1,), id="another version"),
    pytest.param(b'{"jsonrpc":"2.0","id":1}', "frame-envelope", (1,), id="neither call nor response"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"result":{},"Result":{}}', "frame-envelope", (1,), id="a second result"
    ),
    pytest.param(
        '{"jsonrpc":"2.0","id":1,"result":{},"re\u017fult":{}}'.encode(),
        "frame-envelope",
        (1,),
        id="a second result, by a letter that folds to s",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","result":{}}', "frame-envelope", (1,), id="call and response"
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}',
        "frame-envelope",
        (1,),
        id="result and error",
    ),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"result":null}', "frame-envelope", (1,), id="a null result"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"error":"no"}', "frame-envelope", (1,), id="an error that is text"
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"error":{"code":true,"message":"m"}}',
        "frame-envelope",
        (1,),
        id="an error code that is true",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":5}', "frame-envelope", (1,), id="a method that is no text"
    ),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":""}', "frame-envelope", (1,), id="an empty method"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}', "frame-envelope", (1,), id="params by position"
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":null}', "frame-envelope", (1,), id="null params"
    ),
    pytest.param(b'{"jsonrpc":"2.0","id":true,"method":"x"}', "frame-id", (), id="id true"),
    pytest.param(b'{"jsonrpc":"2.0","id":1.0,"method":"x"}', "frame-id", (), id="id 1.0"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":null,"method":"x"}', "frame-id", (), id="a request with the id null"
    ),
    pytest.param(b'{"jsonrpc":"2.0","id":null,"result":{}}', "frame-id", (), id="a result with the id null"),
    pytest.param(b'{"jsonrpc":"2.0","result":{}}', "frame-id", (), id="a result without id"),
    pytest.param(b'{"jsonrpc":"2.0","id":[1],"method":"x"}', "frame-id", (), id="id a list"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":%d,"method":"x"}' % (MAX_ID_NUMBER + 1),
        "frame-id",
        (),
        id="an id that JavaScript would round",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":"%s","method":"x"}' % (b"i" * (MAX_ID_CHARS + 1)),
        "frame-id",
        (),
        id="an id too long to remember",
    ),
]
