-- What wrk sends, as the arguments after "--" say: METHOD, bytes of body, number of headers, and how many applications are
-- asked in turn. At the end, what came of it as a line of JSON.

function init(args)
    wrk.method = args[1]
    local bytes = tonumber(args[2])
    if bytes > 0 then
        wrk.body = string.rep("x", bytes)
    end
    for number = 1, tonumber(args[3]) do
        wrk.headers["X-Header-" .. number] = "value " .. number
    end
    if tonumber(args[4]) > 1 then
        take_turns(tonumber(args[4]))
    end
end

function take_turns(count)
    local requests, last = {}, 0
    for number = 1, count do
        requests[number] = wrk.format(nil, number == count and "/" or "/app" .. number)
    end
    function request()
        last = last % count + 1
        return requests[last]
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "seconds": %.6f, "bytes": %d, "p50": %d, "p99": %d, "errors": %d, "closed": %d}\n',
        summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.timeout + errors.status, errors.read + errors.write))
end
