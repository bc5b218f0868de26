"""The table of servers that processes share, and the choice of one."""

include "table/block.pxd"
include "table/table.pxd"
include "table/times.pxd"
include "table/recovery.pxd"
include "table/selection.pxd"
