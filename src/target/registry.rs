//! From the configuration to a client: one line for each kind of target.

use std::sync::Arc;

use super::{Target, TargetError, confluence, crowd, jira};
use crate::config::{TargetConfig, TargetKind};

/// The client of a configured target; nothing is sent yet. The error names the setting that does not work.
pub fn build(config: &TargetConfig) -> Result<Arc<dyn Target>, TargetError> {
    Ok(match config.kind {
        TargetKind::Confluence => Arc::new(confluence::ConfluenceTarget::new(config.into())?),
        TargetKind::Jira => Arc::new(jira::JiraTarget::new(jira::JiraSettings::from(config))?),
        TargetKind::Crowd => Arc::new(crowd::CrowdTarget::new(crowd::CrowdSettings::from(config))?),
    })
}
