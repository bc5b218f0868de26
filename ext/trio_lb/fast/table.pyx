"""The table of servers that processes share, and the choice of one."""

include "table/block.pxi"
include "table/table.pxi"
include "table/recovery.pxi"
include "table/selection.pxi"
include "table/permits.pxi"
include "table/failures.pxi"
include "table/outages.pxi"
