"""`mianjiao token` and what is under it. Part of `runtime.cli`, by the same rules."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from runtime.cli_options import Data, Json

token_app = App(name="token", help="签发访问令牌 / Issue an access token; it is shown once.")


@token_app.default
def token(
    *,
    data: Data,
    role: Annotated[
        Literal["applicant", "window", "department", "archivist", "auditor", "operator"],
        Parameter(name="--role", help="角色 / Role."),
    ],
    org: Annotated[
        str | None, Parameter(name="--org", help="机构统一社会信用代码 / Credit code of the body.")
    ] = None,
    unit: Annotated[
        str | None, Parameter(name="--unit", help="窗口或科室 / Counter or office.")
    ] = None,
    officer: Annotated[
        str | None, Parameter(name="--officer", help="经办人员 / Officer's name, for slips.")
    ] = None,
    holder: Annotated[
        str | None,
        Parameter(name="--holder", help="本人，类型:号码 / The person, TYPE:CODE."),
    ] = None,
    name: Annotated[
        str | None, Parameter(name="--holder-name", help="本人姓名 / The person's name.")
    ] = None,
    for_: Annotated[
        str | None,
        Parameter(name="--for", help="代谁办理，类型:号码 / On whose behalf, TYPE:CODE."),
    ] = None,
    capacity: Annotated[
        Literal["legal_representative", "license_manager", "operator", "guardian", "agent"] | None,
        Parameter(name="--capacity", help="以何身份 / In which capacity."),
    ] = None,
    days: Annotated[int, Parameter(name="--days", help="有效天数 / Days until it expires.")] = 30,
) -> int:
    """签发访问令牌 / Issue an access token; it is shown once."""
    from runtime.commands.token import TokenRequest, issue_token

    return issue_token(
        data, TokenRequest(role, org, unit, officer, holder, name, for_, capacity, days)
    )


@token_app.command(name="list")
def list_(*, data: Data, json: Json = False) -> int:
    """列出有效的访问令牌 / List the tokens that are in force: whose they are, until when."""
    from runtime.commands.token import list_tokens

    return list_tokens(data, as_json=json)


@token_app.command
def revoke(
    one: Annotated[
        str | None,
        Parameter(
            name="ID",
            help="标识（tok_…）；不给则从标准输入读取令牌本身 / Its id; without it the token "
            "itself is read from standard input.",
        ),
    ] = None,
    /,
    *,
    data: Data,
) -> int:
    """停用访问令牌，立即生效 / End a token for good, at once, also while serving."""
    from runtime.commands.token import revoke_token

    return revoke_token(data, one)
