//! The command line of `testbed`.
