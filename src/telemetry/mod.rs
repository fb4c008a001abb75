//! Log lines, metrics and health of the process.

pub mod conditions;
pub mod escape;
pub mod health;
pub mod logs;
mod meter;
pub mod metrics;

pub use conditions::Conditions;
pub use health::Health;
pub use meter::{RunCost, source_meter, target_meter};
pub use metrics::Metrics;
