//! Requests and their answers.

use crate::driver::{Plan, Python, Worker};

const HELLO: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello World!"]
"#;

#[test]
fn a_worker_answers_in_one_frame() {
    for python in Python::all() {
        let worker = Worker::serving(&python, Plan::threads(2), HELLO);
        let mut client = worker.connect();
        for _ in 0..3 {
            let answer = client.get("/");
            assert_eq!((answer.status, answer.text().as_str()), (200, "Hello World!"));
            assert!(answer.is_done() && answer.pieces == 1, "{answer:?}");
            assert_eq!(answer.length, Some(12));
        }
        worker.has_served(3);
    }
}
