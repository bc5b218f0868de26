-- For wrk: requests at a fixed rate (the first argument, in requests per second), whoever is free.
--
-- One schedule for all connections: each answer takes the next free time of it, and waits until
-- then. While some connection is idle the load is an open loop; when all of them wait for answers,
-- requests come late, and are made up for at once as soon as answers come.
local ffi = require("ffi")
ffi.cdef[[
typedef struct { long seconds; long nanoseconds; } moment;
int clock_gettime(int clock, moment *now);
]]
local MONOTONIC = 1
local moment = ffi.new("moment")
local interval, due

local function milliseconds()
   ffi.C.clock_gettime(MONOTONIC, moment)
   return tonumber(moment.seconds) * 1e3 + tonumber(moment.nanoseconds) / 1e6
end

function init(args)
   interval = 1e3 / tonumber(args[1])
end

function delay()
   local now = milliseconds()
   due = (due or now) + interval
   return math.max(0, due - now)
end
