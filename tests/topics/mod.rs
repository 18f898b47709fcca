//! One topic a file. The names of the tests are sentences that hold.

mod lifecycle;
