//! Observations: which read of a subject is the newest.

/// Records an observation of a subject, at these places of the statement's values: pair, subject, number.
macro_rules! record_observation {
    ($pair:literal, $subject:literal, $number:literal) => {
        concat!(
            "INSERT INTO observation (pair, subject, number) VALUES (?",
            $pair,
            ", ?",
            $subject,
            ", ?",
            $number,
            ") ON CONFLICT (pair, subject) DO UPDATE SET number = max(number, excluded.number)"
        )
    };
}
pub(super) use record_observation;
