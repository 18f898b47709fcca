//! Which processes may talk to a worker: those that prove that they know the secret of its group.

use crate::driver::{Plan, Python, Worker, secret};
use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use wire::Secret;

const APPLICATION: &str = "
def application(environ, start_response):
    open(environ['PATH_INFO'], 'a').write('x')
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";

fn each(test: impl Fn(Worker)) {
    for python in Python::all() {
        test(Worker::serving(&python, Plan::threads(2), APPLICATION));
    }
}

/// How many bytes and descriptors a worker sends to a process that sends these bytes first.
fn answer_to(worker: &Worker, bytes: &[u8]) -> (usize, usize) {
    let stream = worker.connect_without_proof();
    let _ = stream.write(&[bytes], &[]);
    let (mut said, mut descriptors) = ([0; 64], VecDeque::new());
    let count = stream.read(&mut said, &mut descriptors).unwrap_or(0);
    (count, descriptors.len())
}

#[test]
fn a_process_that_does_not_know_the_secret_is_sent_nothing_and_is_logged() {
    each(|worker| {
        let mut proof = secret().proof();
        *proof.last_mut().unwrap() ^= 1;
        assert_eq!(answer_to(&worker, &proof), (0, 0));
        worker.logs(&format!("pid {}, uid", std::process::id()));
        worker.logs("its proof is wrong");
        let other = Secret::of_group(&[7; 32], b"other");
        assert_eq!(answer_to(&worker, &other.proof()), (0, 0), "the secret of another group");
        assert_eq!(answer_to(&worker, &[0; 4096]), (0, 0));
        assert_eq!(worker.get("/dev/null").text(), "ok");
    });
}

#[test]
fn a_process_that_sends_no_proof_is_sent_nothing_until_its_connection_is_closed() {
    each(|worker| {
        let begun = Instant::now();
        let half = secret().proof();
        assert_eq!(answer_to(&worker, &half[..20]), (0, 0));
        assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
        worker.logs("it sent no proof in time");
        assert_eq!(worker.get("/dev/null").text(), "ok");
    });
}

#[test]
fn many_processes_that_send_no_proof_do_not_keep_children_out() {
    each(|worker| {
        let mut client = worker.connect();
        let silent: Vec<_> = (0..300).map(|_| worker.connect_without_proof()).collect();
        assert_eq!(client.get("/dev/null").text(), "ok");
        assert_eq!(worker.get("/dev/null").text(), "ok");
        worker.logs("too many connections are without a proof");
        drop(silent);
        let lines = worker.log().lines().filter(|line| line.contains("WSGI0034")).count();
        assert!(lines < 20, "{lines} lines");
    });
}

#[test]
fn a_proof_may_arrive_in_pieces() {
    each(|worker| {
        let stream = worker.connect_without_proof();
        for byte in secret().proof() {
            stream.write(&[&[byte]], &[]).unwrap();
        }
        let (mut said, mut descriptors) = ([0; 64], VecDeque::new());
        assert!(stream.read(&mut said, &mut descriptors).unwrap() > 0);
        assert_eq!(descriptors.len(), 2);
    });
}

#[test]
fn a_process_that_sends_descriptors_whose_closing_takes_long_keeps_the_worker_from_nothing() {
    let each_connection = |worker: &Worker| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for bytes in [1, 4096] {
            let mut stuck = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            stuck.set_nonblocking(true).unwrap();
            while stuck.write(&[0; 65_536]).is_ok() {}
            let linger = Some(Duration::from_secs(60));
            rustix::net::sockopt::set_socket_linger(&stuck, linger).unwrap();
            let stream = worker.connect_without_proof();
            // The worker reads the descriptor, or closes the connection before it does.
            let _ = stream.write(&[&vec![0; bytes]], &[]);
            let _ = stream.write(&[b"x"], &[stuck.as_fd()]);
        }
        listener
    };
    each(|worker| {
        let _listener = each_connection(&worker);
        let begun = Instant::now();
        assert_eq!(worker.get("/dev/null").text(), "ok");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    });
}
