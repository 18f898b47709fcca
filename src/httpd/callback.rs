//! The one door from httpd into Rust: every `extern "C"` function that httpd calls is made by [`callback!`], which
//! stops a panic, writes it to the log, and gives httpd the value that stands at the definition.

use exchange::{Code, Level};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`; a panic in it is logged and becomes `otherwise`.
pub fn guarded<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        let said = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let line = format!("{}: {}: {said}", Code::Panic, Code::Panic.text());
        crate::httpd::log::note_for_process(Level::Critical, line.as_bytes());
        otherwise
    })
}

/// Defines an `extern "C"` function for httpd. After `else` stands what httpd is told if the body panics.
macro_rules! callback {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $kind:ty),* $(,)?) $(-> $returned:ty)?, else $otherwise:expr; $body:block) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// Called by httpd alone, with the arguments that the hook or slot it is registered for documents.
        $vis unsafe extern "C" fn $name($($arg: $kind),*) $(-> $returned)? {
            $crate::httpd::callback::guarded($otherwise, || $body)
        }
    };
}
pub(crate) use callback;
