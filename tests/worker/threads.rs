//! The threads of a worker: who waits for whom, and who for nobody.

use crate::driver::{Ask, Plan, Python, Worker};
use exchange::{Code, Outcome};
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};
use wire::{End, Kind, Tag, header};

const APP: &str = r#"
import mmap, os, sys, time

def application(environ, start_response):
    return globals()[environ["PATH_INFO"][1:]](environ, start_response)

def answer(start_response, body):
    start_response("200 OK", [])
    return [body]

def hello(environ, start_response):
    return answer(start_response, b"Hello World!")

def sleep(environ, start_response):
    time.sleep(0.2)
    return answer(start_response, b"slept")

def large(environ, start_response):
    return answer(start_response, bytes(range(256)) * 40_000)

def is_locked(environ, start_response):
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return answer(start_response, repr(locked).encode())

def computes(environ, start_response):
    begun = time.thread_time()
    while time.thread_time() < begun + 0.3:
        pass
    return answer(start_response, b"computed")

def keeps_the_interpreter(environ, start_response):
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    begun = time.monotonic()
    while time.monotonic() < begun + 0.4:
        pass
    sys.setswitchinterval(before)
    return answer(start_response, b"kept")

def keeps_it_until_told(environ, start_response):
    sys.setswitchinterval(60)
    with open("told", "w+b") as file:
        file.write(b"0")
        file.flush()
        # To look at it does not give the interpreter up.
        with mmap.mmap(file.fileno(), 1) as told:
            begun = time.monotonic()
            while told[0] == ord("0") and time.monotonic() < begun + 20:
                pass
    return answer(start_response, b"told" if time.monotonic() < begun + 20 else b"not told")

def lets_nobody_in(environ, start_response):
    import ctypes
    class Allocator(ctypes.Structure):
        _fields_ = [(name, ctypes.c_void_p) for name in ("ctx", "malloc", "calloc", "realloc", "free")]
    raw, allocator = 0, Allocator()
    ctypes.pythonapi.PyMem_GetAllocator(raw, ctypes.byref(allocator))
    before, ours = allocator.calloc, ctypes.CDLL(None).labs
    # Of its context, which is NULL, it makes NULL: there is no memory for the state of a thread.
    allocator.calloc = ctypes.cast(ours, ctypes.c_void_p).value
    ctypes.pythonapi.PyMem_SetAllocator(raw, ctypes.byref(allocator))
    open("closed", "w").close()
    begun = time.monotonic()
    while not os.path.exists("enough") and time.monotonic() < begun + 20:
        time.sleep(0.01)
    allocator.calloc = before
    ctypes.pythonapi.PyMem_SetAllocator(raw, ctypes.byref(allocator))
    return answer(start_response, b"enough")

def says_much(environ, start_response):
    for _ in range(3000):
        print("x" * 999, file=environ["wsgi.errors"])
    return answer(start_response, b"said")

def hardly_leaves_room(environ, start_response):
    for _ in range(480):
        print("x" * 999, file=environ["wsgi.errors"])
    return answer(start_response, b"y" * 60_000)

def streams(environ, start_response):
    start_response("200 OK", [])
    for _ in range(300):
        yield b"x" * 10_000
"#;

fn each(body: impl Fn(&Worker)) {
    for python in Python::all() {
        body(&Worker::serving(&python, Plan::threads(4), APP));
    }
}

/// Whether it is known to do without memory for the state of a thread: older ones crash, newer ones have some in hand.
fn can_refuse(python: &Python) -> bool {
    let ask = "import sys; print(sys.version_info[:2] in [(3, 12), (3, 13)])";
    let said = Command::new(&python.program).args(["-c", ask]).output().unwrap();
    said.stdout == b"True\n"
}

#[test]
fn a_thread_that_panics_goes_on() {
    for python in Python::all().iter().filter(|python| can_refuse(python)) {
        let worker = Worker::serving(python, Plan::threads(4), APP);
        // All other threads come to the interpreter for the first time.
        let mut alone = worker.connect();
        alone.offer(&Ask::get("/lets_nobody_in"));
        let until = Instant::now() + Duration::from_secs(10);
        while !worker.directory().join("closed").exists() {
            assert!(Instant::now() < until, "it is open");
            std::thread::yield_now();
        }
        for _ in 0..8 {
            match worker.get("/hello").end {
                Some(End::Served(Outcome::Unanswered(failure))) => {
                    assert_eq!(failure.code, Code::Panic);
                }
                end => panic!("{end:?}"),
            }
        }
        fs::write(worker.directory().join("enough"), "").unwrap();
        assert_eq!(alone.answer(&mut |_| None).text(), "enough");
        // All threads are there.
        let mut clients: Vec<_> = (0..4).map(|_| worker.connect()).collect();
        clients.iter_mut().for_each(|client| client.offer(&Ask::get("/sleep")));
        clients.iter().for_each(|client| client.await_taken());
        for client in &mut clients {
            assert_eq!(client.answer(&mut |_| None).text(), "slept");
        }
    }
}

#[test]
fn requests_are_served_side_by_side() {
    each(|worker| {
        let begun = std::time::Instant::now();
        let mut clients: Vec<_> = (0..4).map(|_| worker.connect()).collect();
        clients.iter_mut().for_each(|client| client.offer(&Ask::get("/sleep")));
        for client in &mut clients {
            assert_eq!(client.answer(&mut |_| None).text(), "slept");
        }
        assert!(begun.elapsed() < Duration::from_millis(700), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_thread_that_waits_for_the_interpreter_takes_no_request() {
    each(|worker| {
        if worker.get("/is_locked").text() == "False" {
            return;
        }
        // Each thread knows then where requests are served.
        let mut clients: Vec<_> = (0..4).map(|_| worker.connect()).collect();
        clients.iter_mut().for_each(|client| client.offer(&Ask::get("/sleep")));
        clients.iter_mut().for_each(|client| drop(client.answer(&mut |_| None)));
        let [keeper, other, ..] = &mut clients[..] else { unreachable!() };
        keeper.offer(&Ask::get("/keeps_the_interpreter"));
        keeper.await_taken();
        std::thread::sleep(Duration::from_millis(50));
        other.offer(&Ask::get("/hello"));
        std::thread::sleep(Duration::from_millis(100));
        assert!(other.withdraw(), "it was taken");
        assert_eq!(keeper.answer(&mut |_| None).text(), "kept");
        assert_eq!(worker.get("/hello").text(), "Hello World!");
        worker.has_served(7);
    });
}

#[test]
fn nobody_waits_for_a_child_inside_the_interpreter() {
    each(|worker| {
        // Each thread knows then where requests are served, and goes there first.
        let mut clients: Vec<_> = (0..4).map(|_| worker.connect()).collect();
        clients.iter_mut().for_each(|client| client.offer(&Ask::get("/sleep")));
        clients.iter_mut().for_each(|client| drop(client.answer(&mut |_| None)));
        for (path, length) in [
            ("/large", 10_240_000),
            ("/streams", 3_000_000),
            ("/says_much", 4),
            ("/hardly_leaves_room", 60_000),
        ] {
            let mut slow = worker.connect();
            slow.offer(&Ask::get(path));
            while !slow.line().has_bytes() {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(worker.get("/hello").text(), "Hello World!", "{path}");
            let answer = slow.answer(&mut |_| None);
            assert!(answer.is_done() && answer.body.len() == length, "{path}");
        }
        let mut slow = worker.connect();
        slow.offer_bytes(&header(Kind::Request, 0, Tag::of_serial(1), 100));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(worker.get("/hello").text(), "Hello World!", "half a request");
    });
}

#[test]
fn interpreters_with_locks_of_their_own_do_not_wait_for_each_other() {
    for python in Python::all() {
        let mut plan = Plan::threads(4);
        plan.settings.own_gil = true;
        let mut worker = plan.start(&python, &[("app.wsgi", APP)]);
        worker.ready();
        let of = |group, path| Ask { group, ..Ask::get(path) };
        for group in ["other", "kept"] {
            assert_eq!(worker.connect().ask(&of(group, "/hello")).text(), "Hello World!");
        }
        if worker.log().contains("no interpreters with their own lock") {
            continue;
        }
        // Each thread has been in one of them last.
        let mut clients: Vec<_> = (0..4).map(|_| worker.connect()).collect();
        clients.iter_mut().for_each(|client| client.offer(&of("kept", "/sleep")));
        clients.iter_mut().for_each(|client| drop(client.answer(&mut |_| None)));
        let mut keeper = worker.connect();
        keeper.offer(&of("kept", "/keeps_it_until_told"));
        let told = worker.directory().join("told");
        while fs::read(&told).unwrap_or_default().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(worker.connect().ask(&of("other", "/hello")).text(), "Hello World!");
        // It stays as long as it is: the worker has mapped it.
        File::options().write(true).open(&told).unwrap().write_all(b"1").unwrap();
        assert_eq!(keeper.answer(&mut |_| None).text(), "told");
    }
}

#[test]
fn a_long_request_and_many_short_ones_go_on_side_by_side() {
    each(|worker| {
        let mut long = worker.connect();
        long.offer(&Ask::get("/computes"));
        let short = std::thread::scope(|scope| {
            let hammers: Vec<_> = (0..6)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = worker.connect();
                        let begun = Instant::now();
                        let times = (0..).take_while(|_| begun.elapsed() < Duration::from_secs(2));
                        times.filter(|_| client.get("/hello").text() == "Hello World!").count()
                    })
                })
                .collect();
            assert_eq!(long.answer(&mut |_| None).text(), "computed");
            hammers.into_iter().map(|hammer| hammer.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(short.iter().all(|count| *count > 10), "{short:?}");
    });
}
