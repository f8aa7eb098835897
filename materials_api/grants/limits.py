"""The bounds of grants, verifications and downloads. Times in seconds."""

from dataclasses import dataclass

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class GrantLimits:
    """Part of `Limits`; `runtime` may build another."""

    items: int = 50  # in one grant
    purpose_chars: int = 200
    request_life: int = 7 * _DAY  # an unanswered request lapses after this
    # An approved once-grant without an end of its own: longer than a case takes.
    once_life: int = 180 * _DAY
    longest_life: int = 366 * _DAY

    code_chars: int = 8
    code_life: int = 60
    code_failures: int = 10  # per principal, in `code_window`
    code_window: int = 600

    verification_items: int = 50  # in one call
    verification_log_wait: int = 2  # for an item that was registered a moment ago
    verification_attempts: int = 6  # when what was gathered changed before the commit

    ticket_life: int = 300
    recheck_bytes: int = 8 << 20  # streamed between two looks at grant and material

    register_fields: int = 32
    register_values: int = 64
    register_chars: int = 500
    question_chars: int = 1_000  # of an assistance letter
    answer_chars: int = 2_000
