//! What a worker reads from a child of the server: any bytes as a request, and as messages that steer.
#![no_main]

use exchange::Settled;
use libfuzzer_sys::fuzz_target;
use wire::{HEADER, Request, control};

fuzz_target!(|bytes: &[u8]| {
    let mut variables = Settled::default();
    if let Ok(request) = Request::decode(bytes, &mut variables) {
        let mut again = Vec::new();
        assert!(request.append_to(&mut again));
        again.extend_from_slice(request.inline());
        let mut memory = Settled::default();
        let back = Request::decode(&again[HEADER..], &mut memory).unwrap();
        assert_eq!(format!("{back:?}"), format!("{request:?}"));
    }
    let bytes = &[bytes, &control::SIGNATURE].concat();
    if let Ok(message) = control::decode::<control::ToWorker>(bytes) {
        let _ = control::encode(&message);
    }
    if let Ok(message) = control::decode::<control::ToSupervisor>(bytes) {
        let _ = control::encode(&message);
    }
    if let Ok(message) = control::decode::<control::FromWorker>(bytes) {
        assert_eq!(control::decode(&control::encode(&message)), Ok(message));
    }
});
