//! What a child of the server reads from a worker: any bytes as a stream of frames. What is understood says the same when
//! it is said again.
#![no_main]

use exchange::Push;
use libfuzzer_sys::fuzz_target;
use wire::{Answer, End, File, Frame, HEADER, Hello, Kind, Note, Ready};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER>() {
        let Ok(frame) = Frame::decode(*header) else { return };
        let Some((payload, next)) = behind.split_at_checked(frame.length) else { return };
        read(frame, payload);
        rest = next;
    }
});

fn read(frame: Frame, payload: &[u8]) {
    let ready = Ready::decode(frame.flags);
    match frame.kind {
        Kind::Hello => {
            if let Ok(hello) = Hello::decode(payload) {
                let mut again = Vec::new();
                hello.append_to(&mut again);
                assert_eq!(&again[HEADER..], payload);
            }
        }
        Kind::Note => {
            if let Ok(Note(record)) = Note::decode(payload) {
                let mut again = Vec::new();
                wire::append_note(&mut again, frame.tag, &record);
                let back = Note::decode(&again[HEADER..]).unwrap().0;
                assert_eq!((back.level, back.file_line), (record.level, record.file_line));
                assert!(record.line.starts_with(&back.line));
            }
        }
        Kind::Answer => {
            let mut headers = Vec::new();
            if let Ok(answer) = Answer::decode(payload, &mut headers) {
                let mut again = Vec::new();
                assert!(wire::append_answer(&mut again, frame.tag, &answer.head, answer.body, Push::Hold));
                assert_eq!(&again[HEADER..], payload);
            }
        }
        Kind::File => {
            if let (Ok(file), Ok(Ready(push))) = (File::decode(payload), ready) {
                let mut again = Vec::new();
                file.append_to(&mut again, frame.tag, push);
                assert_eq!(&again[HEADER..], payload);
            }
        }
        Kind::End => {
            if let Ok(end) = End::decode(payload) {
                let mut again = Vec::new();
                wire::append_end(&mut again, frame.tag, end);
                assert_eq!(End::decode(&again[HEADER..]), Ok(end));
            }
        }
        _ => {}
    }
}
