//! Bodies larger than a process may ever hold: uploads through `wsgi.input`, downloads through `wsgi.file_wrapper` and
//! through a generator. What counts is the highest resident memory of each process that they go through, not where it stood
//! before and after.

use crate::harness::{Builder, Connection, Framing, Server, request};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::time::Instant;

const MIB: u64 = 1 << 20;
/// How much higher than after small bodies the resident memory may stand at any time, in KiB.
const GROWTH: u64 = 4 << 10;

const APPLICATION: &str = "
import itertools, os

BLOCK = bytes(range(256)) * 256

def application(environ, start_response):
    what = environ['PATH_INFO']
    if what == '/upload':
        size = 0
        stream = environ['wsgi.input']
        for number in itertools.count():
            piece = stream.read(65536)
            if not piece:
                break
            assert piece == BLOCK[:len(piece)], f'block {number} changed'
            size += len(piece)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [str(size).encode()]
    if what == '/lines':
        size = sum(map(len, environ['wsgi.input']))
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [str(size).encode()]
    size = int(environ['QUERY_STRING'])
    start_response('200 OK', [('Content-Type', 'application/octet-stream'), ('Content-Length', str(size))])
    if what == '/file':
        file = open('@root@/big', 'rb')
        return environ['wsgi.file_wrapper'](file)
    return (BLOCK for _ in range(size // len(BLOCK)))
";

fn builder() -> Builder {
    Server::builder_of(APPLICATION).config("LimitRequestBody 0\nWSGIChunkedRequest On")
}

/// The same 64 KiB as the application's.
fn block() -> Vec<u8> {
    (0..=255).cycle().take(1 << 16).collect()
}

/// Runs `transfer` for a small size, and then for `size` bytes, and says how far the highest resident memory of the child,
/// or of its worker, rose above that after the small one.
#[track_caller]
fn growth(server: &Server, size: u64, transfer: impl Fn(&Server, u64)) -> u64 {
    for _ in 0..3 {
        transfer(server, MIB);
    }
    let way = server.way();
    for pid in &way {
        fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the mark can be set back");
    }
    let before: Vec<u64> = way.iter().map(|pid| highest(*pid)).collect();
    let begun = Instant::now();
    transfer(server, size);
    let took = begun.elapsed();
    assert_eq!(server.way(), way, "the same processes");
    let grown: Vec<u64> = way.iter().zip(&before).map(|(pid, kib)| highest(*pid) - kib).collect();
    println!(
        "{} MiB in {took:.1?}: resident memory rose by {grown:?} KiB over {before:?} KiB",
        size / MIB
    );
    grown.into_iter().max().unwrap_or_default()
}

/// The highest resident memory of a process since it was set back, in KiB.
fn highest(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn send_blocks(connection: &mut Connection, size: u64) {
    let block = block();
    for _ in 0..size / block.len() as u64 {
        connection.send(&block);
    }
}

fn upload(server: &Server, target: &str, size: u64) {
    let mut connection = server.connect();
    let length = size.to_string();
    connection.send(request("POST", target, &[("Content-Length", &length)], b""));
    send_blocks(&mut connection, size);
    let answer = connection.receive();
    assert_eq!((answer.status, answer.text()), (200, length.as_str()));
}

fn upload_chunked(server: &Server, size: u64) {
    let mut connection = server.connect();
    connection.send(request("POST", "/upload", &[("Transfer-Encoding", "chunked")], b""));
    let block = block();
    let chunk = [b"10000\r\n", block.as_slice(), b"\r\n"].concat();
    for _ in 0..size / block.len() as u64 {
        connection.send(&chunk);
    }
    connection.send("0\r\n\r\n");
    assert_eq!(connection.receive().text(), size.to_string());
}

/// Takes an answer block by block, and compares each.
fn download(server: &Server, target: &str, size: u64) {
    let mut connection = server.connect();
    connection.send(request("GET", &format!("{target}?{size}"), &[("Connection", "close")], b""));
    let head = connection.receive_head("GET");
    assert_eq!((head.status, head.framing), (200, Framing::Length(size)));
    let block = block();
    for number in 0..size / block.len() as u64 {
        assert!(connection.bytes(block.len()) == block, "block {number} changed");
    }
    assert!(connection.closed(), "nothing comes after it");
}

/// Also lays out the file that is sent.
fn download_file(server: &Server, size: u64) {
    let mut file = fs::File::create(server.root().join("big")).unwrap();
    let block = block();
    for _ in 0..size / block.len() as u64 {
        file.write_all(&block).unwrap();
    }
    assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), size);
    download(server, "/file", size);
}

fn uploads_are_not_kept(size: u64) {
    let server = builder().start();
    for target in ["/upload", "/lines"] {
        let grown = growth(&server, size, |server, size| upload(server, target, size));
        assert!(grown < GROWTH, "{target}: {grown} KiB");
    }
    let grown = growth(&server, size, upload_chunked);
    assert!(grown < GROWTH, "chunked: {grown} KiB");
}

fn downloads_are_not_kept(size: u64) {
    for sendfile in ["On", "Off"] {
        let lines = format!("EnableSendfile {sendfile}\nWSGIEnableSendfile {sendfile}");
        let server = builder().config(&lines).start();
        let grown = growth(&server, size, download_file);
        assert!(grown < GROWTH, "file, sendfile {sendfile}: {grown} KiB");
    }
    let server = builder().start();
    let grown = growth(&server, size, |server, size| download(server, "/generator", size));
    assert!(grown < GROWTH, "generator: {grown} KiB");
}

#[test]
fn an_upload_of_64_mib_is_not_kept_in_memory() {
    uploads_are_not_kept(64 * MIB);
}

#[test]
#[ignore = "moves 3 GiB"]
fn an_upload_of_1_gib_is_not_kept_in_memory() {
    uploads_are_not_kept(1024 * MIB);
}

#[test]
fn a_download_of_64_mib_is_not_kept_in_memory() {
    downloads_are_not_kept(64 * MIB);
}

#[test]
#[ignore = "moves 3 GiB"]
fn a_download_of_1_gib_is_not_kept_in_memory() {
    downloads_are_not_kept(1024 * MIB);
}
