//! Tests of the product that need no real server. They are one binary, so that the product is linked once.

mod bitbucket;
mod capabilities;
mod cli;
mod config;
mod confluence;
mod crowd;
mod deploy;
mod jira;
mod keycloak_client;
mod keycloak_reading;
mod readme;
mod scim;
mod store;
mod support;
mod targets;
mod whole_way;
