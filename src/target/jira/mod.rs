//! Jira Data Center.
