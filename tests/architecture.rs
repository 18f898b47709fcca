//! The separations of the design, checked against the sources: who may name whom, where `unsafe` may stand, and that
//! each file says what it is.
