//! Both ends of a line in one process.
#![expect(unsafe_code, reason = "writes into a page as a hostile process can")]

use super::*;
use crate::{Shared, stream};

fn ends(patience: Option<Duration>) -> (Line, Line) {
    let page = Arc::new(Shared::<Page>::create("page").unwrap().map_for_now().unwrap());
    let tray = Shared::<Tray>::create("tray").unwrap();
    let (child, worker) = stream::pair().unwrap();
    let end = |socket, side| {
        let (page, tray) = (Arc::clone(&page), tray.map_for_now().unwrap());
        Line::new(page, 5, tray, socket, side, patience).unwrap()
    };
    (end(child, Side::Child), end(worker, Side::Worker))
}

const MOMENT: Option<Duration> = Some(Duration::from_millis(5));
const LONG: Option<Duration> = Some(Duration::from_secs(20));

#[test]
fn a_request_is_called_and_answered() {
    let (child, worker) = ends(LONG);
    assert!(!worker.page().calls.come(9));
    child.restart();
    child.call(&[b"request"]).unwrap();
    assert!(worker.page().calls.come(9) && !worker.page().calls.come(9));
    assert_eq!(worker.page().calls.take(0), Some(5));
    let mut bytes = [0; 100];
    assert_eq!((worker.read(&mut bytes, LONG).unwrap(), &bytes[..7]), (7, &b"request"[..]));
    worker.write(&[b"ans", b"wer"]).unwrap();
    assert_eq!((child.read(&mut bytes, LONG).unwrap(), &bytes[..6]), (6, &b"answer"[..]));
    assert_eq!(child.try_read(&mut bytes).unwrap(), 0);
    assert_eq!(child.read(&mut bytes, MOMENT).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// Waits until somebody sleeps until something comes to a side.
fn await_reader(of: &Line, side: Side) {
    while !of.tray.positions[usize::from(side == Side::Child)].has_reader() {
        std::thread::yield_now();
    }
}

#[test]
fn who_has_come_before_the_call_is_woken_by_it() {
    let (child, worker) = ends(LONG);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| worker.read_exactly(&mut [0; 7]).unwrap());
        await_reader(&worker, Side::Worker);
        child.call(&[b"request"]).unwrap();
    });
    assert!(begun.elapsed() < PULSE, "it was not woken");
}

#[test]
fn more_than_there_is_room_for_goes_in_pieces_or_not_at_all() {
    let much: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    let (child, _worker) = ends(MOMENT);
    assert_eq!(child.call(&[&much]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let (child, worker) = ends(None);
    std::thread::scope(|scope| {
        scope.spawn(|| child.call(&[&much]).unwrap());
        let mut all = vec![0; much.len()];
        worker.read_exactly(&mut all).unwrap();
        assert!(all == much);
    });
}

#[test]
fn the_end_comes_after_what_was_said_and_wakes_who_waits() {
    let (child, worker) = ends(LONG);
    worker.write(&[b"last"]).unwrap();
    worker.end();
    let mut bytes = [0; 100];
    assert_eq!(child.read(&mut bytes, LONG).unwrap(), 4);
    assert_eq!(child.read(&mut bytes, LONG).unwrap(), 0);
    assert!(child.read_exactly(&mut bytes).is_err());

    let (child, worker) = ends(LONG);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(child.read(&mut [0; 9], None).unwrap(), 0));
        await_reader(&child, Side::Child);
        worker.end();
    });
    assert!(begun.elapsed() < PULSE, "it was not woken");

    let (child, worker) = ends(LONG);
    let much = vec![0; 1_000_000];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let written = child.write(&[&much]);
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        });
        while child.outgoing().has_room() {
            std::thread::yield_now();
        }
        // As it is when a process is killed: nobody is woken.
        drop(worker);
    });
}

#[test]
fn whoever_waits_at_the_socket_is_told_there_and_descriptors_are_not_lost() {
    let (child, worker) = ends(LONG);
    let is_readable = |line: &Line| {
        let mut all = [PollFd::new(line, PollFlags::IN)];
        poll(&mut all, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    };
    worker.write(&[b"before"]).unwrap();
    assert!(!is_readable(&child));
    child.listen();
    assert!(!is_readable(&child) && child.has_bytes());
    worker.write(&[b"after"]).unwrap();
    worker.send_descriptor(worker.as_fd()).unwrap();
    assert!(is_readable(&child));
    let mut descriptors = VecDeque::new();
    child.hush(&mut descriptors).unwrap();
    assert_eq!((descriptors.len(), is_readable(&child)), (1, false));
    worker.write(&[b"later"]).unwrap();
    assert!(!is_readable(&child));
}
/// Writes a value into every byte of a page, as any child that is connected to the worker can.
fn fill(page: &Page, value: u8) {
    let bytes = std::ptr::from_ref(page).cast::<[std::sync::atomic::AtomicU8; size_of::<Page>()]>();
    // SAFETY: a page has this length and is atomics only, for which every byte value is valid.
    let bytes = unsafe { &*bytes };
    bytes.iter().for_each(|byte| byte.store(value, Ordering::Relaxed));
}

#[test]
fn another_child_that_clears_a_pending_bit_only_delays_the_request() {
    let (child, worker) = ends(LONG);
    child.call(&[b"request"]).unwrap();
    fill(worker.page(), 0);
    assert!(!worker.page().calls.come(1));
    child.force_wake();
    assert!(worker.page().calls.come(1));
    assert_eq!(worker.page().calls.take(0), Some(5));
}

#[test]
fn force_wake_wakes_a_thread_with_any_values_in_the_page() {
    let (child, worker) = ends(LONG);
    let calls = &worker.page().calls;
    for value in [0x00, 0x01, 0x02, 0xff] {
        let is_taken = AtomicBool::new(false);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                loop {
                    let bell = calls.bell();
                    if calls.come(1) {
                        // Other bits may be set as well.
                        while calls.take(5).is_some_and(|slot| slot != 5) {}
                        return is_taken.store(true, Ordering::Release);
                    }
                    calls.wait(bell);
                }
            });
            std::thread::sleep(Duration::from_millis(20));
            fill(worker.page(), value);
            while !is_taken.load(Ordering::Acquire) {
                assert!(begun.elapsed() < Duration::from_secs(20), "{value}");
                child.force_wake();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    }
}

#[test]
fn the_page_does_not_decide_whether_a_request_was_taken() {
    let (child, worker) = ends(LONG);
    let offer = child.offer().last().next();
    child.offer().offer(offer);
    assert!(worker.offer().take(offer));
    fill(worker.page(), 0x5a);
    assert!(child.offer().is_taken(offer) && !worker.offer().take(offer));
    worker.write(&[b"answer"]).unwrap();
    let mut answer = [0; 6];
    child.read_exactly(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
}

#[test]
fn whoever_sends_more_at_the_socket_than_there_is_to_say_is_cut_off() {
    let (child, worker) = ends(LONG);
    let mut descriptors = VecDeque::new();
    (0..FILES).for_each(|_| child.send_descriptor(child.as_fd()).unwrap());
    worker.descriptors(&mut descriptors).unwrap();
    assert_eq!(descriptors.len(), FILES);
    child.send_descriptor(child.as_fd()).unwrap();
    let cut_off = |taken: io::Result<()>| taken.unwrap_err().kind() == io::ErrorKind::InvalidData;
    assert!(cut_off(worker.descriptors(&mut descriptors)));

    let (child, worker) = ends(LONG);
    child.socket.write(&[&[b'n'; 100 * ROUNDS]], &[]).unwrap();
    assert!(cut_off(worker.descriptors(&mut VecDeque::new())));
    child.socket.write(&[&[b'n'; 100 * ROUNDS]], &[]).unwrap();
    assert!(cut_off(worker.hush(&mut VecDeque::new())));
}
