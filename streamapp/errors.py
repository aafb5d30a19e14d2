"""One error tree; each branch is an action.

    StreamError
    ├── Misconfigured     stop: a person must change something; the message says what      exit code 78
    │   └── Denied            Kafka knows who asks, and a right is missing
    ├── Unavailable       retry, commit nothing; at capture: 503                           exit code 69
    │   └── DeliveryFailed    a record was not acknowledged in time; the caller still has it
    └── Refused           the request is understood and not done (a running group, a taken port)  exit code 1

Poison is not here: bad input is a value (`schemas.Rejected`), it ends in `dead_letter` and the stream goes on.
Exit codes follow sysexits.h (EX_UNAVAILABLE, EX_CONFIG).
"""

from __future__ import annotations


class StreamError(Exception):
    """Something the world broke. `exit_code` is what the command line ends with."""

    exit_code = 1


class Misconfigured(StreamError):
    """A setting, a topic or a table is not as it must be; going on would be wrong. Stop and say what to do."""

    exit_code = 78


class Denied(Misconfigured):
    """Kafka knows who asks, and does not let them. The message names the missing right. Pages say so quietly."""


class Unavailable(StreamError):
    """Something that is needed does not answer now. Trying again later is right."""

    exit_code = 69


class DeliveryFailed(Unavailable):
    """Kafka did not acknowledge a record within the delivery timeout. Nothing is known to be written."""


class Refused(StreamError):
    """The request would do harm as things stand; nothing was done."""
