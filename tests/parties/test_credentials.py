"""Bearer credentials: what they stand for, and that they stop working at once."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.identifier_errors import CheckCharacterWrong
from kernel.principals import Capacity, Principal, Role
from parties.credentials import Credentials
from parties.errors import (
    CredentialExpired,
    CredentialInvalid,
    CredentialNotFound,
    CredentialRevoked,
    CredentialUnknown,
    NotActingForHolder,
)

DAY = timedelta(days=1)


def issue(store, **what):
    what.setdefault("expires_at", store.clock.now() + DAY)
    return store.write(lambda tx: store.credentials.issue(tx, store.clock.now(), **what))


def authenticate(store, secret):
    return store.read(lambda tx: store.credentials.authenticate(tx, store.clock.now(), secret))


def window(store, **what):
    return issue(store, role=Role.WINDOW, org=store.MARKET, unit="综窗3号", **what)


def test_a_secret_stands_for_its_principal(store):
    credential, secret = window(store, officer="陈晓岚")
    assert authenticate(store, secret) == Principal(
        subject=credential, role=Role.WINDOW, org=store.MARKET, unit="综窗3号", officer="陈晓岚"
    )


def test_secrets_are_long_prefixed_and_kept_nowhere(store):
    secrets = {window(store)[1] for _ in range(20)}
    assert len(secrets) == 20
    disk = store.everything_on_disk()
    for secret in secrets:
        assert secret.startswith("mj_")
        assert len(secret) >= len("mj_") + 43  # 256 bits in base64url
        assert secret.encode() not in disk
        assert secret[3:].encode() not in disk


def test_a_credential_ends_at_its_expiry_and_not_before(store):
    _, secret = window(store)
    store.clock.set(store.NOON + DAY - timedelta(milliseconds=1))
    authenticate(store, secret)
    store.clock.set(store.NOON + DAY)
    with pytest.raises(CredentialExpired):
        authenticate(store, secret)


def test_a_revoked_credential_stops_at_once_and_others_go_on(store):
    credential, secret = window(store)
    _, other = window(store)
    store.write(lambda tx: store.credentials.revoke(tx, store.clock.now(), credential))
    with pytest.raises(CredentialRevoked):
        authenticate(store, secret)
    authenticate(store, other)
    store.advance(days=9)
    store.write(lambda tx: store.credentials.revoke(tx, store.clock.now(), credential))
    with pytest.raises(CredentialRevoked):  # still, and before "expired"
        authenticate(store, secret)
    with pytest.raises(CredentialNotFound):
        store.write(lambda tx: store.credentials.revoke(tx, store.clock.now(), "tok_" + "0" * 26))


def test_any_changed_character_is_another_secret(store):
    _, secret = window(store)
    for place in range(3, len(secret)):
        other = "A" if secret[place] != "A" else "B"
        with pytest.raises(CredentialUnknown):
            authenticate(store, secret[:place] + other + secret[place + 1 :])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60) | st.from_regex(r"mj_[A-Za-z0-9_-]{43}", fullmatch=True))
def test_whatever_is_presented_is_refused_in_the_same_words(store, text):
    with pytest.raises(CredentialUnknown) as refused:
        authenticate(store, text)
    assert refused.value.details == {}


def test_an_applicant_acts_for_themselves_unless_a_capacity_says_otherwise(store):
    person = store.ensure(store.ELDER)
    credential, secret = issue(store, role=Role.APPLICANT, person=person)
    assert authenticate(store, secret) == Principal(
        subject=credential,
        role=Role.APPLICANT,
        person=person,
        holder=person,
        capacity=Capacity.SELF,
    )


def test_a_credential_for_another_lives_and_dies_with_the_capacity(store):
    holder, person = store.ensure(store.COMPANY), store.ensure(store.ZHOU)
    acting = {"role": Role.APPLICANT, "person": person, "holder": holder}
    with pytest.raises(NotActingForHolder):
        issue(store, **acting, capacity=Capacity.OPERATOR)
    capacity = store.write(
        lambda tx: store.parties.register_capacity(
            tx,
            store.clock.now(),
            holder,
            person,
            Capacity.OPERATOR,
            "power_of_attorney",
            store.NOON + timedelta(days=400),
        )
    )
    with pytest.raises(NotActingForHolder):
        issue(store, **acting, capacity=Capacity.LEGAL_REPRESENTATIVE)
    until = store.NOON + timedelta(days=800)
    _, secret = issue(store, **acting, capacity=Capacity.OPERATOR, expires_at=until)
    assert authenticate(store, secret).holder == holder
    store.clock.set(store.NOON + timedelta(days=400))  # the capacity has run out
    with pytest.raises(NotActingForHolder):
        authenticate(store, secret)
    store.clock.set(store.NOON + DAY)
    assert authenticate(store, secret).capacity is Capacity.OPERATOR
    store.write(lambda tx: store.parties.end_capacity(tx, store.clock.now(), capacity, "withdrawn"))
    for later in (0, 1, 30):
        store.advance(days=later)
        with pytest.raises(NotActingForHolder):
            authenticate(store, secret)


def test_credentials_that_would_mean_nothing_are_not_issued(store):
    person, other = store.ensure(store.SHEN), store.ensure(store.ZHOU)
    for what in (
        {"role": Role.WINDOW},
        {"role": Role.DEPARTMENT},
        {"role": Role.ARCHIVIST},
        {"role": Role.WINDOW, "org": store.MARKET, "person": person},
        {"role": Role.AUDITOR, "holder": person},
        {"role": Role.APPLICANT},
        {"role": Role.APPLICANT, "person": person, "holder": other},
        {"role": Role.APPLICANT, "person": person, "holder": other, "capacity": Capacity.SELF},
        {"role": Role.APPLICANT, "person": person, "capacity": Capacity.AGENT},
        {"role": Role.OPERATOR, "expires_at": store.NOON},
    ):
        with pytest.raises(CredentialInvalid):
            issue(store, **what)
    with pytest.raises(CheckCharacterWrong):
        issue(store, role=Role.WINDOW, org="11310199MB2Y01016H")


def test_an_archive_office_keeps_what_is_configured_now_and_nobody_else_does(store):
    office, other = "12310199MB2Y04049F", "12310199MB2Y080841"
    secrets = {
        (role, org): issue(store, role=role, org=org)[1]
        for role in (Role.ARCHIVIST, Role.DEPARTMENT, Role.WINDOW)
        for org in (office, other)
    }
    for keeps in (frozenset({store.MARKET}), frozenset({store.MARKET, other}), frozenset()):
        credentials = Credentials({office: keeps} if keeps else None)
        for (role, org), secret in secrets.items():
            found = store.read(
                lambda tx, by=credentials, secret=secret: by.authenticate(
                    tx, store.clock.now(), secret
                )
            )
            kept = keeps if (role, org) == (Role.ARCHIVIST, office) else frozenset()
            assert found.keeps == kept, (role, org)
