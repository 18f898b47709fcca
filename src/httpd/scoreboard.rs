//! httpd's scoreboard: what every process and every thread of the server is doing. Read when an application asks.
#![expect(unsafe_code, reason = "reads the memory that httpd's processes share")]

use super::ffi;
use exchange::{ProcessSlot, Scoreboard, Slot, WorkerSlot};
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;

/// How mod_status shows what a thread is doing, by httpd's numbers.
const STATES: &[u8; 11] = b".S_RWKLDCGI";

/// Looks at all of it; `sink` gets each place. `None` where there is no scoreboard.
pub fn look(sink: &mut dyn FnMut(Slot<'_>)) -> Option<Scoreboard> {
    // SAFETY: no arguments.
    if unsafe { ffi::ap_exists_scoreboard_image() } == 0 {
        return None;
    }
    // SAFETY: httpd's own record, which lives as long as the process, or NULL.
    let global = unsafe { ffi::ap_get_scoreboard_global().as_ref() }?;
    for number in 0..global.server_limit {
        // SAFETY: a number below the limit; the record lives as long as the process.
        let Some(process) = (unsafe { ffi::ap_get_scoreboard_process(number).as_ref() }) else {
            continue;
        };
        sink(Slot::Process(ProcessSlot {
            number: unsigned(number),
            pid: unsigned(process.pid),
            generation: unsigned(process.generation),
            quiescing: process.quiescing != 0,
        }));
        for thread in 0..global.thread_limit {
            look_at_worker(number, thread, sink);
        }
    }
    Some(Scoreboard {
        server_limit: unsigned(global.server_limit),
        thread_limit: unsigned(global.thread_limit),
        generation: unsigned(global.running_generation),
        restart_time: global.restart_time,
    })
}

fn look_at_worker(process: c_int, thread: c_int, sink: &mut dyn FnMut(Slot<'_>)) {
    let mut worker = MaybeUninit::<ffi::worker_score>::zeroed();
    // SAFETY: numbers below the limits, and a place for the copy; zeroes are valid too.
    let worker = unsafe {
        ffi::ap_copy_scoreboard_worker(worker.as_mut_ptr(), process, thread);
        worker.assume_init()
    };
    let (client, request, vhost) =
        (text(&worker.client), text(&worker.request), text(&worker.vhost));
    sink(Slot::Worker(WorkerSlot {
        number: unsigned(thread),
        generation: unsigned(worker.generation),
        status: STATES.get(usize::from(worker.status)).copied().unwrap_or(b'?'),
        access_count: worker.access_count,
        bytes_served: u64::try_from(worker.bytes_served).unwrap_or(0),
        start_time: worker.start_time,
        stop_time: worker.stop_time,
        last_used: worker.last_used,
        client: client.as_slice().into(),
        request: request.as_slice().into(),
        vhost: vhost.as_slice().into(),
    }));
}

/// A string of the scoreboard, which another process may be writing to: it need not end.
fn text(field: &[c_char]) -> Vec<u8> {
    field.iter().take_while(|&&byte| byte != 0).map(|&byte| byte as u8).collect()
}

fn unsigned(number: c_int) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_shown_as_mod_status_shows_it() {
        let shown = |number: u32| char::from(STATES[number as usize]);
        assert_eq!(shown(ffi::SERVER_DEAD), '.');
        assert_eq!(shown(ffi::SERVER_STARTING), 'S');
        assert_eq!(shown(ffi::SERVER_READY), '_');
        assert_eq!(shown(ffi::SERVER_BUSY_READ), 'R');
        assert_eq!(shown(ffi::SERVER_BUSY_WRITE), 'W');
        assert_eq!(shown(ffi::SERVER_BUSY_KEEPALIVE), 'K');
        assert_eq!(shown(ffi::SERVER_BUSY_LOG), 'L');
        assert_eq!(shown(ffi::SERVER_BUSY_DNS), 'D');
        assert_eq!(shown(ffi::SERVER_CLOSING), 'C');
        assert_eq!(shown(ffi::SERVER_GRACEFUL), 'G');
        assert_eq!(shown(ffi::SERVER_IDLE_KILL), 'I');
        assert_eq!(STATES.len(), ffi::SERVER_NUM_STATUS as usize);
    }

    #[test]
    fn a_text_that_does_not_end_is_taken_whole() {
        assert_eq!(text(&[b'a' as c_char, b'b' as c_char]), b"ab");
        assert_eq!(text(&[b'a' as c_char, 0, b'b' as c_char]), b"a");
    }
}
