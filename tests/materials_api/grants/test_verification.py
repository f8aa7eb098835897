"""Verification: what is allowed, what is denied and why, and what each leaves behind."""


def failed(answer):
    return [code["code"] for item in answer["items"] for code in item["reasons"]]


def test_an_authorised_item_is_allowed_with_every_check_passed(desk) -> None:
    lease = desk.lease()
    case = desk.case()
    grant = desk.granted(case.case_id, lease)
    answer = desk.verify(case.case_id, lease)
    assert failed(answer) == []
    assert answer["outcome"] == "allowed"
    item = answer["items"][0]
    assert all(check["passed"] for check in item["checks"])
    assert {check["check"] for check in item["checks"]} >= {"grant", "content", "log"}
    assert item["grants"] == [grant.grant_id]
