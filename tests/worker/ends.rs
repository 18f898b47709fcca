//! How a worker ends.

use crate::driver::{Plan, Python, Worker};

const HELLO: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"Hello World!"]
"#;

#[test]
fn a_worker_that_is_told_to_leave_ends_in_order() {
    for python in Python::all() {
        let mut worker = Worker::serving(&python, Plan::threads(2), HELLO);
        assert_eq!(worker.get("/").status, 200);
        worker.leave(None);
        worker.ends_with(0);
    }
}
