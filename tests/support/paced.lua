-- For wrk: each connection pauses before its next request, where speed is not what is tested.
function delay()
   return 10 -- milliseconds
end
