//! What is done to a valid request: one function for each kind of lie, and the table of them. Longer than a file should
//! be because most of it is lists, one trick a line.

use super::{Draft, Random, draft};

/// One kind of mutation.
pub type Mutation = fn(&mut Draft, &mut Random);

/// All of them. Several happen to one request.
pub const MUTATIONS: &[Mutation] = &[
    method,
    path,
    target_form,
    target_bytes,
    version,
    header_name,
    header_value,
    repeated_header,
    folded_header,
    content_length,
    chunk_framing,
    transfer_encoding,
    expectation,
    huge_field,
    many_fields,
    empty_field,
    host,
    connection,
    conditions,
    forwarded,
    line_ends,
    no_headers,
    body_of_anything,
];

fn method(draft: &mut Draft, random: &mut Random) {
    let odd: &[&[u8]] = &[
        b"HEAD",
        b"OPTIONS",
        b"TRACE",
        b"CONNECT",
        b"DELETE",
        b"PROPFIND",
        b"BREW",
        b"get",
        b"G\0T",
        b"GE\rT",
        b"GET\t",
        b"",
        b" ",
        b"PRI",
        b"M-SEARCH",
        b"\xffGET",
        b"GET_",
        b"__init__",
        b"\x16\x03\x01\x02",
    ];
    draft.method = match random.below(8) {
        0 => vec![b'A'; 1 + random.below(9000)],
        1 => (0..random.below(12)).map(|_| random.byte()).collect(),
        _ => random.pick(odd).to_vec(),
    };
}

fn path(draft: &mut Draft, random: &mut Random) {
    let tricks: &[&[u8]] = &[
        b"%2f",
        b"%2F..%2f",
        b"/..",
        b"/../",
        b"/./",
        b"//",
        b"///",
        b"%2e%2e/",
        b"/.%2e/",
        b"%00",
        b"%0a",
        b"%0d%0aX: y",
        b"%",
        b"%4",
        b"%zz",
        b"%u0041",
        b"%252f",
        b"%5c",
        b"\\..\\",
        b"%ff%fe",
        b"%c0%af",
        b"%e2%82%ac",
        b";p=1",
        b"/app.wsgi",
        b"/app.wsgi/x",
        b"#f",
        b"?",
        b"??",
        b"?%00",
        b"&&==",
        b"*",
        b"~",
        b":80",
        b"@",
    ];
    for _ in 0..1 + random.below(4) {
        let at = random.below(draft.target.len() + 1);
        let trick = *random.pick(tricks);
        draft.target.splice(at..at, trick.iter().copied());
    }
}

fn target_form(draft: &mut Draft, random: &mut Random) {
    let forms: &[&[u8]] = &[
        b"http://localhost/a",
        b"http://other.example:99/a?b",
        b"HTTP://localhost",
        b"http://",
        b"http:///",
        b"http:/a",
        b"http://[::1]:80/a",
        b"http://[::1/a",
        b"http://user:word@localhost/a",
        b"http://localhost:99999/",
        b"http://localhost:-1/",
        b"https://localhost/",
        b"ftp://localhost/",
        b"file:///etc/passwd",
        b"localhost:443",
        b"*",
        b"",
        b"a",
        b"?x",
        b"?",
        b"#",
        b"%2f",
        b"//localhost/a",
        b"/ /a",
        b"/a b c",
        b"mod_wsgi://x/",
    ];
    draft.target = random.pick(forms).to_vec();
}

fn target_bytes(draft: &mut Draft, random: &mut Random) {
    match random.below(4) {
        0 => draft.target.extend(std::iter::repeat_n(b'p', 1 + random.below(12_000))),
        1 => draft.target.extend(b"/s".repeat(1 + random.below(3000))),
        2 => draft.target.extend(b"%41".repeat(1 + random.below(2500))),
        _ => sprinkle(&mut draft.target, random),
    }
}

fn version(draft: &mut Draft, random: &mut Random) {
    let versions: &[&[u8]] = &[
        b"",
        b"HTTP/0.9",
        b"HTTP/1.0",
        b"HTTP/1.0",
        b"HTTP/1.2",
        b"HTTP/1.9",
        b"HTTP/1.10",
        b"HTTP/2.0",
        b"HTTP/2",
        b"HTTP/3.0",
        b"HTTP/9.9",
        b"HTTP/1",
        b"HTTP/1.",
        b"HTTP/.1",
        b"HTTP/01.1",
        b"HTTP/-1.1",
        b"HTTP/1.1x",
        b"HTTP/1.1 ",
        b"HTTP/1.1 HTTP/1.1",
        b"HTTP/99999999999.1",
        b"http/1.1",
        b"HTTPS/1.1",
        b"ICY/1.1",
        b"HTTP/1,1",
        b"HTTP/\xff",
        b"HTTP/1.1\0",
        b"INCLUDED",
    ];
    draft.version = random.pick(versions).to_vec();
}

fn header_name(draft: &mut Draft, random: &mut Random) {
    let names: &[&[u8]] = &[
        b"X_Under",
        b"X.Dot",
        b"Content_Length",
        b"Content-Length ",
        b" Content-Length",
        b"\tX-Tab",
        b"Host ",
        b"X-\xe4\xf6",
        b"X\0Nul",
        b"X\rCr",
        b"X Y",
        b"",
        b"-",
        b"--",
        b"_",
        b"Proxy",
        b"HTTP_HOST",
        b"wsgi.input",
        b"mod_wsgi.x-daemon",
        b"SCRIPT-NAME",
        b"REMOTE-USER",
        b"X:Y",
        b"(comment)",
        b"\"quoted\"",
        b"{}",
    ];
    let name = match random.below(4) {
        0 => (0..1 + random.below(20)).map(|_| random.byte()).collect(),
        1 => vec![b'N'; 1 + random.below(9000)],
        _ => random.pick(names).to_vec(),
    };
    if random.one_in(3) {
        draft.any_header(random).0 = name;
    } else {
        draft.put_raw(name, b"value");
    }
}

fn header_value(draft: &mut Draft, random: &mut Random) {
    let mut value: Vec<u8> = (0..random.below(60)).map(|_| random.byte()).collect();
    if random.one_in(2) {
        value = draft.any_header(random).1.clone();
        sprinkle(&mut value, random);
    }
    draft.any_header(random).1 = value;
}

fn repeated_header(draft: &mut Draft, random: &mut Random) {
    let (name, value) = draft.any_header(random).clone();
    for _ in 0..1 + random.below(6) {
        let mut value = value.clone();
        if random.one_in(2) {
            value.push(b'x');
        }
        let name = if random.one_in(3) { name.to_ascii_uppercase() } else { name.clone() };
        draft.headers.push((name, value));
    }
}

fn folded_header(draft: &mut Draft, random: &mut Random) {
    let folds: &[&[u8]] =
        &[b"\r\n ", b"\r\n\t", b"\n ", b"\r\n  \r\n ", b"\r ", b"\r\n\x0b", b"\r\n \r\n\r\n"];
    let fold = *random.pick(folds);
    let value = &mut draft.any_header(random).1;
    let at = random.below(value.len() + 1);
    value.splice(at..at, fold.iter().copied());
}

fn content_length(draft: &mut Draft, random: &mut Random) {
    let lies: &[&[u8]] = &[
        b"0",
        b"1",
        b"10",
        b"100000",
        b"2147483648",
        b"4294967296",
        b"9223372036854775807",
        b"9223372036854775808",
        b"18446744073709551616",
        b"99999999999999999999999",
        b"-1",
        b"+5",
        b"5,5",
        b"5, 6",
        b"0x10",
        b"010",
        b"1e3",
        b"5.0",
        b"",
        b" ",
        b"five",
        b"5\0",
        b"5 5",
        b"\xb2",
    ];
    if random.one_in(2) {
        draft.drop("Content-Length");
    }
    if random.one_in(3) {
        draft.drop("Transfer-Encoding");
    }
    let lie = *random.pick(lies);
    draft.put("Content-Length", lie);
}

fn chunk_framing(draft: &mut Draft, random: &mut Random) {
    let bodies: &[&[u8]] = &[
        b"5\r\nabcde\r\n",
        b"5\r\nabcde",
        b"5\r\nabc",
        b"5\r\nabcdefg\r\n0\r\n\r\n",
        b"nonsense\r\n",
        b"5\r\nabcde\r\nnonsense\r\n\r\n",
        b"-1\r\na\r\n0\r\n\r\n",
        b"0x5\r\nabcde\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFF\r\nabc\r\n",
        b"fffffffffffffffffffffffff\r\nabc\r\n",
        b"7fffffffffffffff\r\nabc\r\n",
        b"80000000\r\nabc\r\n",
        b"5 \r\nabcde\r\n0\r\n\r\n",
        b"5;x=\"y\"\r\nabcde\r\n0;z\r\n\r\n",
        b"5;\0\r\nabcde\r\n0\r\n\r\n",
        b"5\nabcde\n0\n\n",
        b"00000000000000000000000000005\r\nabcde\r\n0\r\n\r\n",
        b"0\r\nTrailer: x\r\n\r\n",
        b"0\r\nContent-Length: 5\r\nHost: y\r\n\r\n",
        b"0\r\n: \r\n\r\n",
        b"0\r\n\0\r\n\r\n",
        b"0",
        b"\r\n",
        b"",
    ];
    draft.drop("Content-Length");
    draft.drop("Transfer-Encoding");
    draft.method = b"POST".to_vec();
    draft.put("Transfer-Encoding", b"chunked");
    draft.body = random.pick(bodies).to_vec();
    if random.one_in(6) {
        draft.body = [format!("1;{}", "x".repeat(9000)).as_bytes(), b"\r\na\r\n0\r\n\r\n"].concat();
    }
}

fn transfer_encoding(draft: &mut Draft, random: &mut Random) {
    let codings: &[&[u8]] = &[
        b"chunked",
        b"CHUNKED",
        b"chunked, chunked",
        b"gzip, chunked",
        b"chunked, gzip",
        b"identity",
        b"gzip",
        b"",
        b"\x0bchunked",
        b"chunked\0",
        b"xchunked",
        b"chunked;q=1",
        b",chunked",
    ];
    let coding = *random.pick(codings);
    draft.put("Transfer-Encoding", coding);
    if random.one_in(2) {
        let body = draft.body.clone();
        draft.body = draft::chunked(&body, random);
    }
}

fn expectation(draft: &mut Draft, random: &mut Random) {
    let expectations: &[&[u8]] = &[
        b"100-continue",
        b"100-Continue",
        b"100-continue, 100-continue",
        b"200-maybe",
        b"",
        b"100-continue; x=y",
        b"\xff",
    ];
    let expectation = *random.pick(expectations);
    draft.put("Expect", expectation);
}

fn huge_field(draft: &mut Draft, random: &mut Random) {
    // On either side of httpd's limit of 8190.
    let size = *random.pick(&[4000, 8100, 8190, 8191, 20_000, 70_000]);
    let byte = if random.one_in(2) { b'v' } else { random.byte() };
    draft.put("X-Huge", &vec![byte; size]);
}

fn many_fields(draft: &mut Draft, random: &mut Random) {
    // On either side of httpd's limit of 100.
    for number in 0..random.below(140) {
        draft.put(&format!("X-Many-{}", number % 90), b"m");
    }
}

fn empty_field(draft: &mut Draft, random: &mut Random) {
    let names = ["X-Empty", "Content-Type", "Accept", "Cookie", "Authorization", "Range", "Host"];
    let name = *random.pick(&names);
    draft.drop(name);
    draft.headers.push((name.as_bytes().to_vec(), Vec::new()));
}

fn host(draft: &mut Draft, random: &mut Random) {
    let hosts: &[&[u8]] = &[
        b"",
        b"localhost:",
        b"localhost:0",
        b"localhost:65536",
        b"localhost:port",
        b"[::1]",
        b"[::1",
        b"a,b",
        b"a b",
        b"..",
        b"a/b",
        b"user@localhost",
        b"\xe4",
        b"<b>&\"",
        b"%00",
        b"localhost\0",
        b"LOCALHOST.",
        b"-",
    ];
    if !random.one_in(4) {
        draft.drop("Host");
    }
    if !random.one_in(6) {
        let host = *random.pick(hosts);
        draft.put("Host", host);
    }
    if random.one_in(10) {
        draft.put("Host", &vec![b'h'; 3000]);
    }
}

fn connection(draft: &mut Draft, random: &mut Random) {
    let headers: &[(&str, &[u8])] = &[
        ("Connection", b"close"),
        ("Connection", b"keep-alive"),
        ("Connection", b"close, keep-alive, Host, Content-Length"),
        ("Connection", b"Upgrade, HTTP2-Settings"),
        ("Upgrade", b"h2c"),
        ("Upgrade", b"websocket"),
        ("HTTP2-Settings", b"AAMAAABkAARAAAAAAAIAAAAA"),
        ("Keep-Alive", b"timeout=-1, max=99999999999"),
        ("TE", b"trailers, chunked;q=0.5"),
        ("Trailer", b"Content-Length"),
        ("Max-Forwards", b"0"),
    ];
    for _ in 0..1 + random.below(3) {
        let (name, value) = *random.pick(headers);
        draft.put(name, value);
    }
}

fn conditions(draft: &mut Draft, random: &mut Random) {
    let headers: &[(&str, &[u8])] = &[
        ("Range", b"bytes=0-0"),
        ("Range", b"bytes=-1,0-,5-2,0-99999999999999999999"),
        ("Range", b"bytes="),
        ("If-Match", b"*"),
        ("If-Match", b"\"no\""),
        ("If-None-Match", b"*"),
        ("If-Modified-Since", b"Fri, 31 Feb 9999 25:61:61 GMT"),
        ("If-Unmodified-Since", b"Thu, 01 Jan 1970 00:00:00 GMT"),
        ("If-Range", b"\"tag"),
        ("Accept-Encoding", b"gzip;q=2, *;q=-1"),
        ("Accept-Language", b"\xc3\xa9"),
        ("Authorization", b"Basic \xff\xfe"),
        ("Authorization", b"Digest username="),
        ("Authorization", b"Basic"),
        ("Authorization", b"Basic em86c2VjcmV0"),
        ("Authorization", b"Basic em8AOgA="),
        ("Authorization", b"Basic Ojo6"),
        ("Authorization", b"Basic /////w=="),
        ("Content-Type", b"multipart/form-data; boundary="),
    ];
    for _ in 0..1 + random.below(3) {
        let (name, value) = *random.pick(headers);
        draft.put(name, value);
    }
}

fn forwarded(draft: &mut Draft, random: &mut Random) {
    let names = [
        "X-Forwarded-For",
        "X-Real-IP",
        "X-Client-IP",
        "X-Forwarded-Host",
        "X-Host",
        "X-Forwarded-Server",
        "X-Forwarded-Port",
        "X-Script-Name",
        "X-Forwarded-Script-Name",
        "X-Forwarded-Proto",
        "X-Scheme",
        "X-Forwarded-SSL",
        "X-HTTPS",
        "Forwarded",
    ];
    let values: &[&[u8]] = &[
        b"127.0.0.1",
        b",,,",
        b"1.2.3.4:80, [::1]:80, unknown, _hidden",
        b"::ffff:127.0.0.1",
        b"999.999.999.999",
        b"https",
        b"on",
        b"//../%00",
        b"",
        b"-1",
    ];
    for _ in 0..1 + random.below(4) {
        let name = *random.pick(&names);
        let value = *random.pick(values);
        draft.put(name, value);
    }
    if random.one_in(8) {
        draft.put("X-Forwarded-For", &b"10.0.0.1,".repeat(800));
    }
}

fn line_ends(draft: &mut Draft, random: &mut Random) {
    let ends: &[&[u8]] = &[b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\0\r\n", b""];
    draft.line_end = random.pick(ends).to_vec();
}

fn no_headers(draft: &mut Draft, _: &mut Random) {
    draft.headers.clear();
}

fn body_of_anything(draft: &mut Draft, random: &mut Random) {
    let body: Vec<u8> = (0..random.below(20_000)).map(|_| random.byte()).collect();
    draft.drop("Content-Length");
    draft.drop("Transfer-Encoding");
    draft.method = b"POST".to_vec();
    draft.put("Content-Length", body.len().to_string().as_bytes());
    draft.body = body;
}

/// Puts in, takes out or changes a few bytes.
pub fn sprinkle(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(5) {
        let at = random.below(bytes.len() + 1);
        let byte = if random.one_in(2) { random.sharp_byte() } else { random.byte() };
        match random.below(3) {
            0 if at < bytes.len() => bytes[at] = byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.insert(at, byte),
        }
    }
}
