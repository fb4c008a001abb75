//! The kinds of targets: their configuration keys, and how their clients are created.

use std::sync::Arc;

use super::{Target, TargetConfig, TargetError, TargetKind, bitbucket, confluence, crowd, jira, scim};

/// All kinds of targets.
pub static KINDS: [TargetKind; 5] = [jira::KIND, confluence::KIND, bitbucket::KIND, crowd::KIND, scim::KIND];

/// Creates the client of a configured target; sends nothing yet.
///
/// # Errors
/// The error names the invalid setting.
pub fn build(config: &TargetConfig) -> Result<Arc<dyn Target>, TargetError> {
    (config.kind.build)(config)
}
