-- For wrk: POST requests with a body of as many bytes as the first argument says, in chunks of 16 KiB.
local chunk = string.format("%x\r\n%s\r\n", 16384, string.rep("x", 16384))
local whole

function init(args)
   local fields = {["Transfer-Encoding"] = "chunked", ["Content-Type"] = "application/octet-stream"}
   local chunks = string.rep(chunk, tonumber(args[1]) / 16384)
   whole = wrk.format("POST", nil, fields) .. chunks .. "0\r\n\r\n"
end

function request()
   return whole
end
