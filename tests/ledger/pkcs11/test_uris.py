"""RFC 7512 URIs: what names a key, and what is refused because it would not be heeded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.pkcs11.errors import TokenUriInvalid
from ledger.pkcs11.uris import TokenUri

_texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(
    st.builds(
        TokenUri,
        token=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=32),
        serial=_texts,
        manufacturer=_texts,
        model=_texts,
        object=_texts,
        id=st.binary(min_size=1, max_size=20),
    )
)
def test_what_is_written_is_read_again(uri: TokenUri) -> None:
    text = uri.text
    assert TokenUri.parse(text) == uri
    assert text.isascii()
    assert " " not in text
    assert text.endswith(";type=private")


def test_examples_of_the_standard_and_of_other_tools() -> None:
    # `p11tool --list-privkeys` writes it like this.
    told = TokenUri.parse(
        "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=d1fd8d6e0c6f4d64;"
        "token=My%20token%201;id=%b9%f4;object=log.example%2F2026;type=private"
    )
    assert told == TokenUri(
        token="My token 1",
        serial="d1fd8d6e0c6f4d64",
        manufacturer="SoftHSM project",
        model="SoftHSM v2",
        object="log.example/2026",
        id=b"\xb9\xf4",
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pkcs11:",
        "PKCS11:token=a;object=b",
        "pkcs11:token=a",
        "pkcs11:object=b",
        "pkcs11:token=a;object=b?pin-value=1234",
        "pkcs11:token=a;object=b?module-path=/tmp/evil.so",
        "pkcs11:token=a;object=b;pin-value=1234",
        "pkcs11:token=a;object=b;slot-id=1",
        "pkcs11:token=a;object=b;type=public",
        "pkcs11:token=a;token=b;object=c",
        "pkcs11:token=;object=b",
        "pkcs11:token=a;object=b;",
        "pkcs11:token=a;object=%",
        "pkcs11:token=a;object=%G1",
        "pkcs11:token=a;object=%FF",
        "pkcs11:token=a;object=b c",
        "pkcs11:token=a;object=中",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(TokenUriInvalid):
        TokenUri.parse(text)
