-- What wrk sends, as the arguments after "--" say: METHOD, bytes of body, number of headers, how many applications are
-- asked in turn, and whether requests are all the "same" or "mixed". At the end, what came of it as a line of JSON.

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
    if args[5] == "mixed" then
        mix(499)
    end
end

function take_turns(count)
    local requests = {}
    for number = 1, count do
        requests[number] = wrk.format(nil, number == count and "/" or "/app" .. number)
    end
    send(requests)
end

-- Forms of up to 256 KiB, most of them small, and headers from few to many, short to long; the same in each run.
function mix(count)
    local requests = {}
    math.randomseed(1)
    for number = 1, count do
        local headers = {["Host"] = wrk.headers["Host"]}
        for header = 1, math.random(0, 30) do
            headers["X-" .. string.char(96 + math.random(26)) .. header] = string.rep("v", math.floor(2 ^ (math.random() * 9)))
        end
        local path = string.format("/%s?name=%d&bytes=%d", string.rep("p", math.random(40)), number, 2 ^ (math.random() * 17))
        if number % 2 == 0 then
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            requests[number] = wrk.format("POST", path, headers, form(math.floor(2 ^ (4 + math.random() ^ 2 * 14))))
        else
            requests[number] = wrk.format("GET", path, headers)
        end
    end
    send(requests)
end

function form(bytes)
    local fields = {}
    for number = 1, math.random(20) do
        fields[number] = "field" .. number .. "=" .. string.rep("x", math.floor(bytes / 20))
    end
    return table.concat(fields, "&")
end

-- One after the other, and again.
function send(requests)
    local last = 0
    function request()
        last = last % #requests + 1
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
