//! An answer that is complete before any of it is sent: it is gathered while its thread is in Python, and sent when the thread
//! has left. Each thread has the memory of one.

use crate::answering::AnswerHead;
use crate::py::{Attached, Object};
use crate::request::Request;
use exchange::{Exchange, Push, WriteError};
use std::cell::RefCell;

#[derive(Default)]
struct Reply {
    head: AnswerHead,
    body: Vec<u8>,
}

thread_local! {
    static REPLY: RefCell<Reply> = RefCell::default();
}

/// An answer is gathered if its body is no larger than this. Larger ones are worth going back to Python for, as copying them
/// costs more.
const GATHERED: usize = 64 * 1024;

/// Takes over an answer that is complete: a list or tuple of small strings, nothing sent yet. About how many bytes it is, or
/// `None` if it is none.
pub fn gather(attached: &Attached, request: &Request, result: &Object<'_>) -> Option<usize> {
    // Where another thread may take items out of the list meanwhile, they must not end while the answer is locked:
    // what ends may run code of the application.
    let mut ending_later = Vec::new();
    let mut answering = request.answering.take(attached);
    if answering.committed || !answering.accepted {
        return None;
    }
    REPLY.with_borrow_mut(|reply| {
        reply.body.clear();
        for item in result.items() {
            let bytes = item.bytes()?;
            if reply.body.len() + bytes.len() > GATHERED {
                return None;
            }
            reply.body.extend_from_slice(bytes);
            if cfg!(Py_GIL_DISABLED) {
                ending_later.push(item);
            }
        }
        if answering.length().is_some_and(|length| reply.body.len() as u64 != length) {
            // Too long or too short: the ordinary way knows what to do.
            if !(answering.header_only() && reply.body.is_empty()) {
                return None;
            }
        }
        if result.items_len() == 1 {
            answering.head.infer_length(reply.body.len() as u64);
        }
        answering.committed = true;
        answering.admit(reply.body.len());
        std::mem::swap(&mut answering.head, &mut reply.head);
        Some(reply.head.size() + reply.body.len())
    })
}

/// Sends what this thread has gathered.
///
/// # Errors
/// It cannot reach the client.
pub fn send(exchange: &mut dyn Exchange) -> Result<(), WriteError> {
    REPLY.with_borrow_mut(|reply| {
        let sent = reply
            .head
            .with_answer(|answer| exchange.start(answer))
            .and_then(|()| exchange.write(&reply.body, Push::Last));
        reply.body.clear();
        reply.body.shrink_to(GATHERED);
        sent
    })
}
