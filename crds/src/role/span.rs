//! Durations in rules of the API server.

/// A duration in seconds in a rule: `duration` of CEL knows no days.
macro_rules! span {
    ($field:literal) => {
        concat!(
            "((",
            $field,
            ".contains('d') ? int(",
            $field,
            ".substring(0, ",
            $field,
            ".indexOf('d'))) * 86400 : 0) + duration('0s' + ",
            $field,
            ".substring(",
            $field,
            ".indexOf('d') + 1)).getSeconds())"
        )
    };
}
