//! Replacing secret-ids: when (`plan`, pure), what is remembered of them (`state`), who is restarted (`restart`, I/O),
//! and what is told of it (`report`).

pub mod plan;
pub mod report;
pub mod restart;
pub mod state;
