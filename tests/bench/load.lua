-- What wrk sends, as the arguments after "--" say: METHOD, bytes of body, number of headers. At the end, what came of it as
-- a line of JSON.

function init(args)
    wrk.method = args[1]
    local bytes = tonumber(args[2])
    if bytes > 0 then
        wrk.body = string.rep("x", bytes)
    end
    for number = 1, tonumber(args[3]) do
        wrk.headers["X-Header-" .. number] = "value " .. number
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "seconds": %.6f, "bytes": %d, "p50": %d, "p99": %d, "errors": %d, "refused": %d}\n',
        summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
