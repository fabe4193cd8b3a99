"""How many cases hypothesis draws: few by default, as many as a test asks for in .ci/run."""

import hypothesis


def at_most(count: int) -> int:
    """So many with ``--hypothesis-profile=ci``; else no more than the profile of every day."""
    default = hypothesis.settings().max_examples
    return count if hypothesis.settings.get_current_profile_name() == "ci" else min(count, default)
