"""
Purge and recover, called by the commands, the tasks and schedulers.

Both choose first and act then, in short transactions, and by then a chosen key may have been claimed again. So the
statement that acts repeats the exact condition, and skips the records that somebody holds.
"""

from .batches import LARGEST_BATCH
from .due import CHOSEN, ago, records_in
from .purging import Purged, purge
from .recovering import Recovered, recover

__all__ = ["CHOSEN", "LARGEST_BATCH", "Purged", "Recovered", "ago", "purge", "records_in", "recover"]
