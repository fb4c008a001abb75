//! From the configuration to a client: one line for each kind of target.

use std::sync::Arc;

use super::{Target, TargetError, bitbucket, confluence, crowd, jira, scim};
use crate::config::{TargetConfig, TargetKind};

/// The client of a configured target; nothing is sent yet. The error names the setting that does not work.
pub fn build(config: &TargetConfig) -> Result<Arc<dyn Target>, TargetError> {
    Ok(match config.kind {
        TargetKind::Confluence => {
            Arc::new(confluence::ConfluenceTarget::new(confluence::ConfluenceSettings::from(config))?)
        }
        TargetKind::Jira => Arc::new(jira::JiraTarget::new(jira::JiraSettings::from(config))?),
        TargetKind::Crowd => Arc::new(crowd::CrowdTarget::new(crowd::CrowdSettings::from(config))?),
        TargetKind::Bitbucket => Arc::new(bitbucket::BitbucketTarget::new(bitbucket::BitbucketSettings::from(config))?),
        TargetKind::Scim => Arc::new(scim::ScimTarget::new(scim::ScimSettings::from(config))?),
    })
}
