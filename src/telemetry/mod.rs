//! What usersync tells about itself: log lines, metrics, and whether it is well.

pub mod conditions;
pub mod escape;
pub mod health;
pub mod logs;
mod meter;
pub mod metrics;

pub use conditions::Conditions;
pub use health::Health;
pub use meter::CallMeter;
pub use metrics::Metrics;
